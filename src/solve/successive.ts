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
  const energy = (c: number): number => h[c * n + c] as number;
  return Int32Array.from(columns.sort((a, b) => energy(a) - energy(b) || b - a));
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
  const { order, upper } = factor;
  const n = order.length;
  const { slope } = quadratic;
  const offset =
    slope === undefined
      ? undefined
      : await solveTransposed(factor, permuted(slope, order, rows), rows.size, matrices);
  // ŵ − w of the columns decided so far.
  const moved = new Float32Array(rows.size * n);
  for (let from = BLOCK * Math.floor((n - 1) / BLOCK); from >= 0; from -= BLOCK) {
    const to = Math.min(from + BLOCK, n);
    const pull =
      to === n
        ? undefined
        : await matrices.timesTransposed(moved, upper.subarray(from * n, to * n), rows.size, n, to - from);
    for (let r = 0; r < rows.size; r++) {
      const row = { index: rows.from + r, at: r * n };
      roundBlock(problem, quadratic, parameters, factor, row, { from, to }, codes, moved, (c) => {
        const after = pull === undefined ? 0 : (pull[r * (to - from) + c - from] as number);
        return after + (offset === undefined ? 0 : (offset[row.at + c] as number));
      });
    }
  }
}

/** Rounds the columns of one block of one row; `pullOf` is what v and the columns after the block add to a term. */
function roundBlock(
  { cols, sharing, grid, mask }: LayerProblem,
  { reference }: Quadratic,
  { scale, zeroPoint }: CellParameters,
  { order, upper }: TriangularFactor,
  row: { readonly index: number; readonly at: number },
  { from, to }: { readonly from: number; readonly to: number },
  codes: Int32Array,
  moved: Float32Array,
  pullOf: (c: number) => number,
): void {
  const base = (sharing.rowSet[row.index] as number) * sharing.blocks;
  for (let c = to - 1; c >= from; c--) {
    let pull = pullOf(c);
    for (let k = c + 1, at = c * cols + k; k < to; k++, at++)
      pull += (upper[at] as number) * (moved[row.at + k] as number);
    const column = order[c] as number;
    const i = row.index * cols + column;
    const cell = base + (sharing.block[column] as number);
    const step = scale[cell] as number;
    const zero = zeroPoint[cell] as number;
    const w = reference[i] as number;
    const isOpen = mask === undefined || mask[i] === 1;
    const wanted = w - pull / (upper[c * cols + c] as number);
    const code = isOpen ? nearestCode(wanted / step, zero, grid) : zero;
    codes[i] = code;
    moved[row.at + c] = (code - zero) * step - w;
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
