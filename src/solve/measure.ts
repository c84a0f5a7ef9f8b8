/** The honest error of given weights: relative to the layer's output, on samples seen and not seen. */
import { dot, multiply } from './linear-algebra.js';
import { groupOf, type LayerProblem, type Moments } from './problem.js';
import { distance, type Product } from './quadratic.js';

/** Weights to measure, with the bias that goes with them. */
export interface Candidate {
  /** ŵ, [rows × cols]. */
  readonly values: Float64Array;
  /** Added to the outputs, [rows]. */
  readonly bias?: Float64Array | undefined;
}

/**
 * Relative errors `Σ imp·‖X̂ŵ + b − y‖² / Σ imp·‖y‖²` of several candidates.
 *
 * With d = ŵ − w the numerator is dHd + 2d·(Hw − t) + ‖X̂w − y‖² + 2b(x̄·ŵ − ȳ) + b²; all products with H are made at once.
 */
export async function relativeErrors(
  problem: LayerProblem,
  moments: Moments,
  candidates: readonly Candidate[],
  product: Product = multiply,
): Promise<number[]> {
  const { rows, cols, weight, importance } = problem;
  const differences = candidates.map(({ values }) => distance(values, weight));
  const [own, ...products] = await productsByGroup(problem, moments.gram, [weight, ...differences], product);
  const noise = candidates.map(() => 0);
  let signal = 0;
  for (let r = 0; r < rows; r++) {
    const row = <T extends Float32Array | Float64Array>(all: T): T =>
      all.subarray(r * cols, (r + 1) * cols) as T;
    const w = row(weight);
    const hw = row(own as Float64Array);
    const mean = moments.mean[groupOf(problem, r)] as Float64Array;
    const form = dot(w, hw);
    const t = moments.target;
    const energy = t?.energy[r] ?? form;
    const base = t === undefined ? 0 : form - 2 * dot(w, row(t.product)) + energy;
    const offset = t === undefined ? 0 : dot(w, mean) - (t.mean[r] as number);
    const share = importance?.[r] ?? 1;
    signal += share * energy;
    candidates.forEach(({ bias }, i) => {
      const d = row(differences[i] as Float64Array);
      const slope = t === undefined ? 0 : dot(d, hw) - dot(d, row(t.product));
      const b = bias?.[r] ?? 0;
      const squares = dot(d, row(products[i] as Float64Array)) + 2 * slope + base;
      noise[i] = (noise[i] as number) + share * (squares + 2 * b * (dot(d, mean) + offset) + b * b);
    });
  }
  return noise.map((n) => (signal === 0 ? 0 : Math.max(n, 0) / signal));
}

/** Each of several [rows × cols] times the Gram matrices of the groups. */
export async function productsByGroup(
  { rows, cols, groups }: Pick<LayerProblem, 'rows' | 'cols' | 'groups'>,
  gram: readonly Float64Array[],
  matrices: readonly (Float32Array | Float64Array)[],
  product: Product,
): Promise<Float64Array[]> {
  const results = matrices.map(() => new Float64Array(rows * cols));
  const size = (rows / groups) * cols;
  for (const [g, h] of gram.entries()) {
    const stacked = new Float64Array(matrices.length * size);
    matrices.forEach((m, i) => stacked.set(m.subarray(g * size, (g + 1) * size), i * size));
    const all = await product(stacked, h, (matrices.length * rows) / groups, cols);
    results.forEach((out, i) => out.set(all.subarray(i * size, (i + 1) * size), g * size));
  }
  return results;
}
