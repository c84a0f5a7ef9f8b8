/** One row under coordinate descent: single changes, pair changes and scale refits, with the gradient kept up to date. */
import { nearestCode, nextCode, smallestGap } from './grid.js';
import { addRow, multiply } from './linear-algebra.js';
import { groupOf, type LayerProblem, type WeightGrid } from './problem.js';
import { type Quadratic } from './quadratic.js';

/** What descent changes in place, of one row. */
export interface Row {
  /** H of the row's group. */
  readonly h: Float64Array;
  /** t. */
  readonly linear: Float64Array;
  readonly importance: number;
  readonly mask: Uint8Array | undefined;
  readonly codes: Int32Array;
  /** ŵ. */
  readonly values: Float64Array;
  /** Hŵ − t: half the gradient. */
  readonly gradient: Float64Array;
}

/** Arrays of a whole layer, [rows × cols], that descent changes in place. */
export interface LayerState {
  readonly codes: Int32Array;
  readonly values: Float64Array;
  readonly gradient: Float64Array;
}

/** Scale and zero point of every column of a row. */
export interface Columns {
  readonly step: Float64Array;
  readonly zero: Int32Array;
}

/** A change counts as an improvement when it gains more than this share of its own curvature, so that ties cannot cycle. */
export const NOISE = 1e-12;

/** The rows of one set as views into arrays of the whole layer. */
export function rowsOfSet(
  problem: LayerProblem,
  quadratic: Quadratic,
  set: number,
  state: LayerState,
): Row[] {
  const { rows, cols, sharing, mask, importance } = problem;
  const found: Row[] = [];
  for (let r = 0; r < rows; r++) {
    if (sharing.rowSet[r] !== set) continue;
    const [from, to] = [r * cols, (r + 1) * cols];
    found.push({
      h: quadratic.gram[groupOf(problem, r)] as Float64Array,
      linear: quadratic.linear.subarray(from, to),
      importance: importance?.[r] ?? 1,
      mask: mask?.subarray(from, to),
      codes: state.codes.subarray(from, to),
      values: state.values.subarray(from, to),
      gradient: state.gradient.subarray(from, to),
    });
  }
  return found;
}

/**
 * Gives every code of a row, in turn, the value that minimizes the objective with the others fixed:
 * ŵ_c − gradient_c / H_cc, rounded to the grid. Returns the number of changes.
 */
export function sweep(row: Row, columns: Columns, grid: WeightGrid): number {
  const { h, mask, codes, gradient } = row;
  const n = codes.length;
  const near = 0.49 * smallestGap(grid);
  let changes = 0;
  for (let c = 0; c < n; c++) {
    if (mask !== undefined && mask[c] === 0) continue;
    const curvature = h[c * n + c] as number;
    const slope = gradient[c] as number;
    // Most codes stay: the best real weight is less than half the way to another away.
    if (Math.abs(slope) < near * curvature * (columns.step[c] as number)) continue;
    const after = bestCode(row, columns, grid, c, slope);
    const change = (after - (codes[c] as number)) * (columns.step[c] as number);
    if (change * (2 * slope + change * curvature) >= -NOISE * change * change * curvature) continue;
    setCode(row, columns, c, after);
    changes++;
  }
  return changes;
}

/**
 * Tries a step of every code up and down together with the best answer of one other code, and makes those pair changes
 * that help. Returns their number.
 *
 * Changing c by d turns the slope of j into g_j + d·H_cj; the answer of j then gains at most slope²/H_jj, which rules out
 * most columns without rounding.
 */
export function pairSweep(row: Row, columns: Columns, grid: WeightGrid): number {
  const { h, mask, codes, gradient } = row;
  const { step } = columns;
  const n = codes.length;
  let changes = 0;
  for (let c = 0; c < n; c++) {
    if (mask !== undefined && mask[c] === 0) continue;
    for (const direction of [-1, 1] as const) {
      const first = nextCode(grid, codes[c] as number, direction);
      if (first === undefined) continue;
      const d = (first - (codes[c] as number)) * (step[c] as number);
      const curvature = h[c * n + c] as number;
      const cost = d * (2 * (gradient[c] as number) + d * curvature);
      let least = -NOISE * d * d * curvature;
      let partner = -1;
      let second = 0;
      for (let j = 0, at = c * n; j < n; j++, at++) {
        const slope = (gradient[j] as number) + d * (h[at] as number);
        const own = h[j * n + j] as number;
        if (slope * slope < (cost - least) * own || j === c || (mask !== undefined && mask[j] === 0))
          continue;
        const code = bestCode(row, columns, grid, j, slope);
        const change = (code - (codes[j] as number)) * (step[j] as number);
        const total = cost + change * (2 * slope + change * own);
        if (total >= least) continue;
        [least, partner, second] = [total, j, code];
      }
      if (partner < 0) continue;
      setCode(row, columns, c, first);
      setCode(row, columns, partner, second);
      changes++;
      break;
    }
  }
  return changes;
}

/** The code of column c that is best for the objective with slope `slope` there. */
function bestCode(row: Row, { step, zero }: Columns, grid: WeightGrid, c: number, slope: number): number {
  const n = row.codes.length;
  const wanted = (row.values[c] as number) - slope / (row.h[c * n + c] as number);
  if (grid.levels !== undefined) return nearestCode(wanted / (step[c] as number), zero[c] as number, grid);
  const { low, high } = grid;
  const code = Math.round(wanted / (step[c] as number)) + (zero[c] as number);
  return code < low ? low : code > high ? high : code;
}

/** Changes one code, with the weight and the gradient that follow from it. */
export function setCode(row: Row, { step, zero }: Columns, c: number, code: number): void {
  const before = row.values[c] as number;
  const after = (code - (zero[c] as number)) * (step[c] as number);
  row.codes[c] = code;
  row.values[c] = after;
  addRow(row.gradient, after - before, row.h, c);
}

/**
 * Scales of a set that minimize the objective for fixed codes, block by block: with v the block's part of ŵ, the factor
 * is 1 − Σ v·gradient / Σ vHv. Returns whether any scale moved noticeably.
 */
export function refitScales(
  problem: LayerProblem,
  rows: readonly Row[],
  scale: Float64Array,
  cell: number,
): boolean {
  const { cols, sharing, minimumScale } = problem;
  let moved = false;
  for (let b = 0; b < sharing.blocks; b++) {
    let slope = 0;
    let curvature = 0;
    const products: Float64Array[] = [];
    for (const row of rows) {
      const part = sharing.blocks === 1 ? row.values : partOfBlock(row.values, sharing.block, b);
      // With one block Hv is at hand: gradient + t.
      const product = sharing.blocks === 1 ? sumOf(row.gradient, row.linear) : multiply(part, row.h, 1, cols);
      for (let c = 0; c < cols; c++) {
        slope += row.importance * (part[c] as number) * (row.gradient[c] as number);
        curvature += row.importance * (part[c] as number) * (product[c] as number);
      }
      products.push(product);
    }
    const before = scale[cell + b] as number;
    const after = Math.fround(Math.max(before * (1 - slope / curvature), minimumScale?.[cell + b] ?? 0));
    if (!(curvature > 0) || !(after > 0) || Math.abs(after - before) < 1e-6 * before) continue;
    moved = true;
    scale[cell + b] = after;
    rows.forEach((row, i) => stretch(row, products[i] as Float64Array, sharing.block, b, after / before));
  }
  return moved;
}

/** The weights of one block, 0 elsewhere. */
function partOfBlock(values: Float64Array, block: Int32Array, b: number): Float64Array {
  const out = new Float64Array(values.length);
  for (let c = 0; c < out.length; c++) if (block[c] === b) out[c] = values[c] as number;
  return out;
}

function sumOf(x: Float64Array, y: Float64Array): Float64Array {
  const out = new Float64Array(x.length);
  for (let i = 0; i < out.length; i++) out[i] = (x[i] as number) + (y[i] as number);
  return out;
}

/** Multiplies the weights of a block by a factor; `product` is H times them. */
function stretch(row: Row, product: Float64Array, block: Int32Array, b: number, factor: number): void {
  for (let c = 0; c < product.length; c++) {
    row.gradient[c] = (row.gradient[c] as number) + (factor - 1) * (product[c] as number);
    if (block[c] === b) row.values[c] = (row.values[c] as number) * factor;
  }
}
