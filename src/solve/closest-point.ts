/** The best codes of a short row, exactly: closest lattice point by depth-first search (Schnorr and Euchner 1994). */
import { codesByDistance } from './grid.js';
import { cholesky, solveCholesky } from './linear-algebra.js';
import { type WeightGrid } from './problem.js';

export interface ShortRow {
  /** [n × n], positive definite. */
  readonly h: Float64Array;
  /** t of the objective ŵHŵᵀ − 2ŵ·t, [n]. */
  readonly linear: ArrayLike<number>;
  /** Scale and zero point of every column, [n]. */
  readonly step: ArrayLike<number>;
  readonly zero: ArrayLike<number>;
  readonly mask?: ArrayLike<number> | undefined;
}

/**
 * Codes that minimize the objective at given scales.
 *
 * With H = LLᵀ and w* = H⁻¹t the objective is ‖Lᵀ(ŵ − w*)‖² up to a constant, and its last k terms depend on the last k
 * weights only. The search fixes weights from the last to the first, nearest levels first, and drops every branch whose
 * terms already exceed the best sum.
 *
 * @param start codes that bound the search
 * @param nodes levels tried, at most; the best codes so far are returned beyond it
 */
export function closestCodes(
  row: ShortRow,
  grid: WeightGrid,
  start: Int32Array,
  nodes = 100_000,
): Int32Array {
  const { h, linear, step, zero, mask } = row;
  const n = start.length;
  const lower = cholesky(h, n);
  const optimum = solveCholesky(lower, n, linear);
  const best = Int32Array.from(start);
  const codes = new Int32Array(n);
  const offset = new Float64Array(n);
  const value = (c: number, code: number): number =>
    mask?.[c] === 0 ? 0 : (code - (zero[c] as number)) * (step[c] as number);
  let budget = nodes;

  const cost = (c: number, at: number): number => {
    // Row c of Lᵀ times ŵ − w*.
    let sum = (lower[c * n + c] as number) * at;
    for (let k = c + 1; k < n; k++) sum += (lower[k * n + c] as number) * (offset[k] as number);
    return sum * sum;
  };
  for (let c = 0; c < n; c++) offset[c] = value(c, start[c] as number) - (optimum[c] as number);
  let least = 0;
  for (let c = 0; c < n; c++) least += cost(c, offset[c] as number);

  const search = (c: number, spent: number): void => {
    if (c < 0) {
      least = spent;
      best.set(codes);
      return;
    }
    const levels = mask?.[c] === 0 ? [zero[c] as number] : codesByDistance(grid, centre(c));
    for (const code of levels) {
      if (budget-- <= 0) return;
      offset[c] = value(c, code) - (optimum[c] as number);
      const total = spent + cost(c, offset[c] as number);
      // Levels come by rising cost, so the first that is too far ends the branch.
      if (total >= least * (1 - 1e-12)) return;
      codes[c] = code;
      search(c - 1, total);
    }
  };
  /** The real code of column c that costs nothing, given the columns after it. */
  const centre = (c: number): number => {
    let pull = 0;
    for (let k = c + 1; k < n; k++) pull += (lower[k * n + c] as number) * (offset[k] as number);
    const wanted = (optimum[c] as number) - pull / (lower[c * n + c] as number);
    return wanted / (step[c] as number) + (zero[c] as number);
  };
  search(n - 1, 0);
  return best;
}
