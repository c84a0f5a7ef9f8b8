/** Descent over masks: exchanging a kept unit of a group for a dropped one, with real weights or with codes on a grid. */
import { type WeightGrid } from '../problem.js';
import { type Pattern } from './pattern.js';

/** One row of a layer's quadratic, ŵHŵᵀ − 2ŵ·t, as the descent changes it in place. */
export interface SparseRow {
  readonly h: Float64Array;
  /** 1 where ŵ may be non-zero. */
  readonly mask: Uint8Array;
  /** ŵ. */
  readonly values: Float64Array;
  /** Hŵ − t: half the gradient. */
  readonly gradient: Float64Array;
  /** The grid of every column; absent for real weights. */
  readonly levels?: RowLevels;
}

export interface RowLevels {
  readonly grid: WeightGrid;
  readonly codes: Int32Array;
  /** Scale and zero point of each column. */
  readonly step: Float64Array;
  readonly zero: Int32Array;
}

/** Exchanges must gain more than this share of what the moved weights contribute, so that ties cannot cycle. */
const NOISE = 1e-9;

/**
 * Tries, in every group, each exchange of one kept unit for one dropped unit and makes the best that lowers the
 * objective. The dropped weights go to zero; the kept ones take their best values, one after the other.
 *
 * @returns the number of exchanges made
 */
export function exchangePass(row: SparseRow, columns: Int32Array, { m, unit }: Pattern): number {
  const moves = new Float64Array(2 * unit);
  const best = new Float64Array(2 * unit);
  let exchanges = 0;
  for (let from = 0; from < columns.length; from += m) {
    let least = 0;
    let out = -1;
    let into = -1;
    for (let a = from; a < from + m; a += unit) {
      if (row.mask[columns[a] as number] === 0) continue;
      for (let b = from; b < from + m; b += unit) {
        if (row.mask[columns[b] as number] === 1) continue;
        const gain = tryExchange(row, columns, a, b, unit, moves);
        if (gain >= least) continue;
        [least, out, into] = [gain, a, b];
        best.set(moves);
      }
    }
    if (out < 0) continue;
    for (let i = 0; i < unit; i++) move(row, columns[out + i] as number, best[i] as number, 0);
    for (let i = 0; i < unit; i++) move(row, columns[into + i] as number, best[unit + i] as number, 1);
    exchanges++;
  }
  return exchanges;
}

/** Change of the objective (0 when not worth making); `moves` receives the change of every weight concerned. */
function tryExchange(
  { h, values, gradient, levels }: SparseRow,
  columns: Int32Array,
  out: number,
  into: number,
  unit: number,
  moves: Float64Array,
): number {
  const n = values.length;
  const columnOf = (i: number): number => columns[i < unit ? out + i : into + i - unit] as number;
  let change = 0;
  let size = 0;
  for (let i = 0; i < 2 * unit; i++) {
    const c = columnOf(i);
    let slope = gradient[c] as number;
    for (let k = 0; k < i; k++) slope += (moves[k] as number) * (h[columnOf(k) * n + c] as number);
    const curvature = h[c * n + c] as number;
    const step = i < unit ? -(values[c] as number) : stepTo(-slope / curvature, c, levels);
    moves[i] = step;
    change += step * (2 * slope + step * curvature);
    size += step * step * curvature;
  }
  return change < -NOISE * size ? change : 0;
}

/** The step from zero to the level nearest to a real value. */
function stepTo(value: number, c: number, levels: RowLevels | undefined): number {
  if (levels === undefined) return value;
  const { grid, step, zero } = levels;
  const code = Math.round(value / (step[c] as number)) + (zero[c] as number);
  return (Math.min(Math.max(code, grid.low), grid.high) - (zero[c] as number)) * (step[c] as number);
}

/** Adds to one weight, with everything that follows from it. */
function move(
  { h, mask, values, gradient, levels }: SparseRow,
  c: number,
  change: number,
  kept: 0 | 1,
): void {
  const n = values.length;
  mask[c] = kept;
  values[c] = kept === 0 ? 0 : change;
  if (levels !== undefined)
    levels.codes[c] =
      Math.round((values[c] as number) / (levels.step[c] as number)) + (levels.zero[c] as number);
  if (change === 0) return;
  for (let j = 0, at = c * n; j < n; j++, at++)
    gradient[j] = (gradient[j] as number) + change * (h[at] as number);
}

/** Sets every kept real weight, in turn, to its best value with the others fixed. Returns the change of the objective. */
export function realSweep({ h, mask, values, gradient }: SparseRow): number {
  const n = values.length;
  let change = 0;
  for (let c = 0; c < n; c++) {
    if (mask[c] === 0) continue;
    const curvature = h[c * n + c] as number;
    const step = -(gradient[c] as number) / curvature;
    if (step === 0) continue;
    change -= step * step * curvature;
    values[c] = (values[c] as number) + step;
    for (let j = 0, at = c * n; j < n; j++, at++)
      gradient[j] = (gradient[j] as number) + step * (h[at] as number);
  }
  return change;
}
