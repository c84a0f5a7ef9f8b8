/** Masks from scores of single weights: magnitude, and Wanda (arXiv 2306.11695). */
import { groupOf, type LayerProblem } from '../problem.js';
import { maskByScore, type Pattern } from './pattern.js';

/** Keeps the largest |w|. */
export function magnitudeMask(problem: LayerProblem, columns: Int32Array, pattern: Pattern): Uint8Array {
  return maskByScore(problem.weight.map(Math.abs), problem.rows, columns, pattern);
}

/** Keeps the largest |w|·‖x_c‖: weights whose inputs carry energy. With equal norms this is magnitude. */
export function wandaMask(problem: LayerProblem, columns: Int32Array, pattern: Pattern): Uint8Array {
  const { rows, cols, weight, moments } = problem;
  const norms = moments.gram.map((h) =>
    Float64Array.from({ length: cols }, (_, c) => Math.sqrt(h[c * cols + c] as number)),
  );
  const scores = Float64Array.from(weight, (w, i) => {
    const norm = norms[groupOf(problem, Math.floor(i / cols))] as Float64Array;
    return Math.abs(w) * (norm[i % cols] as number);
  });
  return maskByScore(scores, rows, columns, pattern);
}
