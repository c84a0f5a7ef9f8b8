/** SparseGPT: columns are pruned group by group, and the columns still open absorb each error (arXiv 2301.00774). */
import { cholesky, inverseUpperFactor, solveCholesky } from '../linear-algebra.js';
import { groupOf, type LayerProblem } from '../problem.js';
import { type Quadratic } from '../quadratic.js';
import { keepLargest, type Pattern } from './pattern.js';

/** A mask with the weights that make up for what it removes, [rows × cols]; zero where the mask is. */
export interface PrunedMatrix {
  readonly mask: Uint8Array;
  readonly weight: Float64Array;
}

/**
 * Prunes a layer.
 *
 * With H⁻¹ = UᵀU in the pattern's column order, removing weight c costs w_c² / U_cc² once the columns before it are
 * fixed; of each group the cheapest are removed, and the error w_c / U_cc · U_c,j is taken from every later column j.
 */
export function sparseGpt(
  problem: LayerProblem,
  quadratic: Quadratic,
  columns: Int32Array,
  pattern: Pattern,
): PrunedMatrix {
  const { rows, cols } = problem;
  const mask = new Uint8Array(rows * cols);
  const weight = new Float64Array(rows * cols);
  const factors = quadratic.gram.map((h) => {
    const ordered = reorder(h, columns);
    return { upper: inverseUpperFactor(ordered, cols), lower: cholesky(ordered, cols) };
  });
  const scores = new Float64Array(pattern.m);
  const kept = new Uint8Array(pattern.m);
  for (let r = 0; r < rows; r++) {
    const { upper, lower } = factors[groupOf(problem, r)] as (typeof factors)[number];
    const linear = Float64Array.from(columns, (c) => quadratic.linear[r * cols + c] as number);
    // The objective is (ŵ − H⁻¹t)H(ŵ − H⁻¹t)ᵀ up to a constant; with float inputs H⁻¹t is w itself.
    const w = solveCholesky(lower, cols, linear);
    for (let from = 0; from < cols; from += pattern.m) {
      for (let i = 0; i < pattern.m; i++) {
        const at = from + i;
        scores[i] = ((w[at] as number) / (upper[at * cols + at] as number)) ** 2;
      }
      keepLargest(scores, pattern, kept);
      for (let at = from; at < from + pattern.m; at++) {
        const index = r * cols + (columns[at] as number);
        if (kept[at - from] === 1) {
          mask[index] = 1;
          weight[index] = w[at] as number;
          continue;
        }
        const error = (w[at] as number) / (upper[at * cols + at] as number);
        for (let j = at + 1, u = at * cols + at + 1; j < cols; j++, u++)
          w[j] = (w[j] as number) - error * (upper[u] as number);
      }
    }
  }
  return { mask, weight };
}

function reorder(h: Float64Array, columns: Int32Array): Float64Array {
  const n = columns.length;
  const out = new Float64Array(n * n);
  for (let i = 0, at = 0; i < n; i++)
    for (let j = 0; j < n; j++, at++)
      out[at] = h[(columns[i] as number) * n + (columns[j] as number)] as number;
  return out;
}
