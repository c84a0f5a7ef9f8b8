/**
 * Successive rounding: GPTQ's codes without its inverse.
 *
 * With H = UᵀU in some order of columns, the objective (ŵ − w)H(ŵ − w)ᵀ + 2s(ŵ − w)ᵀ is ‖U(ŵ − w) + v‖² up to a constant,
 * where Uᵀv = s. Its last term depends on the last column alone, the one before on the last two, and so on: rounding from
 * the last to the first, each to what is best given those after it, is Babai's nearest plane, and gives GPTQ's codes for
 * the reversed order (arXiv 2507.18553).
 */
import { required } from '../core/index.js';
import { nearestCode } from './grid.js';
import { type Matrices } from './matrices.js';
import { type LayerProblem, type QuantizedMatrix } from './problem.js';
import { type Quadratic } from './quadratic.js';
import { type CellParameters } from './scales.js';
import { BLOCK, factorize, solveTransposed, type TriangularFactor } from './triangular.js';

/** Factors of every group's H, which several roundings can share. Columns rounded first come last. */
export async function factorizeGroups(
  quadratic: Quadratic,
  cols: number,
  actOrder: boolean,
  matrices: Matrices,
): Promise<TriangularFactor[]> {
  const factors: TriangularFactor[] = [];
  for (const h of quadratic.gram)
    factors.push(await factorize(h, roundingOrder(h, cols, actOrder), matrices));
  return factors;
}

/** The reverse of the order of rounding: by rising input energy (equal ones from last to first), or from last to first. */
function roundingOrder(h: Float64Array, n: number, actOrder: boolean): Int32Array {
  const columns = Array.from({ length: n }, (_, c) => n - 1 - c);
  if (!actOrder) return Int32Array.from(columns);
  const energy = Float64Array.from(columns, (_, c) => h[c * n + c] as number);
  return Int32Array.from(columns.sort((a, b) => (energy[a] as number) - (energy[b] as number) || b - a));
}

/** Codes for given scales, every group of rows by the factor of its H. */
export async function successiveCodes(
  problem: LayerProblem,
  quadratic: Quadratic,
  parameters: CellParameters,
  factors: readonly TriangularFactor[],
  matrices: Matrices,
): Promise<QuantizedMatrix> {
  const { rows, cols, groups } = problem;
  const codes = new Int32Array(rows * cols);
  const size = rows / groups;
  for (let g = 0; g < groups; g++) {
    const factor = required(factors[g], `the factor of group ${g}`);
    await roundGroup(problem, quadratic, parameters, factor, { from: g * size, size }, codes, matrices);
  }
  return { codes, scale: parameters.scale, zeroPoint: parameters.zeroPoint };
}

async function roundGroup(
  problem: LayerProblem,
  quadratic: Quadratic,
  parameters: CellParameters,
  factor: TriangularFactor,
  rows: { readonly from: number; readonly size: number },
  codes: Int32Array,
  matrices: Matrices,
): Promise<void> {
  const n = factor.order.length;
  const offset = await slopeOffset(factor, quadratic, rows, matrices);
  // ŵ − w of the columns decided so far.
  const moved = new Float32Array(rows.size * n);
  for (let from = BLOCK * Math.floor((n - 1) / BLOCK); from >= 0; from -= BLOCK) {
    const to = Math.min(from + BLOCK, n);
    // What v and the columns decided so far add to the terms of this block.
    const pull = await pullOn(factor, moved, offset, rows.size, { from, to }, matrices);
    for (let r = 0; r < rows.size; r++)
      roundBlock(problem, quadratic, parameters, factor, rows.from + r, { from, to }, codes, {
        pull: pull.subarray(r * (to - from), (r + 1) * (to - from)),
        moved: moved.subarray(r * n, (r + 1) * n),
      });
  }
}

/** v of some rows, [rows × columns in the factor's order]; absent where w is the optimum. */
export async function slopeOffset(
  factor: TriangularFactor,
  { slope }: Quadratic,
  rows: { readonly from: number; readonly size: number },
  matrices: Matrices,
): Promise<Float32Array | undefined> {
  if (slope === undefined) return undefined;
  return solveTransposed(factor, permuted(slope, factor.order, rows), rows.size, matrices);
}

/** v + U_B (ŵ − w) over the columns after a block, [rows × columns of the block]. */
export async function pullOn(
  { upper, order }: TriangularFactor,
  moved: Float32Array,
  offset: Float32Array | undefined,
  rows: number,
  { from, to }: Range,
  matrices: Matrices,
): Promise<Float32Array> {
  const n = order.length;
  const size = to - from;
  const pull =
    to === n
      ? new Float32Array(rows * size)
      : await matrices.timesTransposed(moved, upper.subarray(from * n, to * n), rows, n, size);
  if (offset === undefined) return pull;
  for (let r = 0, i = 0; r < rows; r++)
    for (let c = from; c < to; c++, i++) pull[i] = (pull[i] as number) + (offset[r * n + c] as number);
  return pull;
}

/** Places of a block's columns. */
export interface Range {
  readonly from: number;
  readonly to: number;
}

/** Rounds the columns of one block of one row, last column first. */
function roundBlock(
  { cols, sharing, grid, mask }: LayerProblem,
  { reference }: Quadratic,
  { scale, zeroPoint }: CellParameters,
  { order, upper }: TriangularFactor,
  row: number,
  { from, to }: Range,
  codes: Int32Array,
  { pull, moved }: { readonly pull: Float32Array; readonly moved: Float32Array },
): void {
  const base = (sharing.rowSet[row] as number) * sharing.blocks;
  for (let c = to - 1; c >= from; c--) {
    let sum = pull[c - from] as number;
    for (let k = c + 1, at = c * cols + k; k < to; k++, at++)
      sum += (upper[at] as number) * (moved[k] as number);
    const column = order[c] as number;
    const i = row * cols + column;
    const cell = base + (sharing.block[column] as number);
    const step = scale[cell] as number;
    const zero = zeroPoint[cell] as number;
    const w = reference[i] as number;
    const isOpen = mask === undefined || mask[i] === 1;
    const code = isOpen ? nearestCode((w - sum / (upper[c * cols + c] as number)) / step, zero, grid) : zero;
    codes[i] = code;
    moved[c] = (code - zero) * step - w;
  }
}

/** Some rows with their columns in a factor's order. */
function permuted(
  values: Float64Array,
  order: Int32Array,
  { from, size }: { readonly from: number; readonly size: number },
): Float32Array {
  const n = order.length;
  const out = new Float32Array(size * n);
  for (let r = 0; r < size; r++)
    for (let c = 0; c < n; c++) out[r * n + c] = values[(from + r) * n + (order[c] as number)] as number;
  return out;
}
