/** The objective of a layer problem: one quadratic form a row, with means removed where a bias absorbs them. */
import { dot, multiply } from './linear-algebra.js';
import { groupOf, type LayerProblem, type Moments, type Target } from './problem.js';

/** Row r of group g costs `ŵHŵᵀ − 2ŵ·t + e`, with H = gram[g], t = linear[r], e = energy[r]. */
export interface Quadratic {
  /** [cols × cols] per group. */
  readonly gram: readonly Float64Array[];
  /** [rows × cols]. */
  readonly linear: Float64Array;
  /** [rows]. */
  readonly energy: Float64Array;
}

/**
 * The quadratic a solver minimizes.
 *
 * With a free bias the best one is b = ȳ − ŵ·x̄, which leaves the centred moments H − x̄x̄ᵀ and t − ȳx̄. Damping adds
 * λ‖ŵ − w‖² with λ = damping · mean(diag H): it makes H invertible and keeps weights without input where they are.
 */
export function quadraticOf(problem: LayerProblem, damping: number): Quadratic {
  const { rows, cols, weight, freeBias, moments } = problem;
  const { target } = moments;
  const lambdas = moments.gram.map((h) => damping * (meanDiagonal(h, cols) || 1));
  const gram = moments.gram.map((h, g) => {
    const out = Float64Array.from(h);
    if (freeBias) subtractOuter(out, moments.mean[g] as Float64Array, cols);
    const lambda = lambdas[g] as number;
    for (let c = 0; c < cols; c++) out[c * cols + c] = Math.max(out[c * cols + c] as number, 0) + lambda;
    return out;
  });
  const linear = Float64Array.from(target.product);
  const energy = Float64Array.from(target.energy);
  for (let r = 0, i = 0; r < rows; r++) {
    const g = groupOf(problem, r);
    const mean = moments.mean[g] as Float64Array;
    const lambda = lambdas[g] as number;
    const y = freeBias ? (target.mean[r] as number) : 0;
    let norm = 0;
    for (let c = 0; c < cols; c++, i++) {
      const w = weight[i] as number;
      norm += w * w;
      linear[i] = (linear[i] as number) - y * (mean[c] as number) + lambda * w;
    }
    energy[r] = (energy[r] as number) - y * y + lambda * norm;
  }
  return { gram, linear, energy };
}

/** The target of a layer that sees its float inputs: Y = XWᵀ. */
export function floatTarget(
  layer: Pick<LayerProblem, 'rows' | 'cols' | 'groups' | 'weight'>,
  moments: Pick<Moments, 'gram' | 'mean'>,
): Target {
  const { rows, cols, weight } = layer;
  const product = byGroup(layer, weight, moments.gram);
  const mean = new Float64Array(rows);
  const energy = new Float64Array(rows);
  for (let r = 0; r < rows; r++) {
    const w = weight.subarray(r * cols, (r + 1) * cols);
    mean[r] = dot(w, moments.mean[groupOf(layer, r)] as Float64Array);
    energy[r] = dot(w, product.subarray(r * cols, (r + 1) * cols));
  }
  return { product, mean, energy };
}

/** The bias that makes every output's mean right, [rows]: ȳ − ŵ·x̄. */
export function biasFor(problem: LayerProblem, values: Float64Array): Float64Array {
  const { rows, cols, moments } = problem;
  return Float64Array.from({ length: rows }, (_, r) => {
    const row = values.subarray(r * cols, (r + 1) * cols);
    return (moments.target.mean[r] as number) - dot(row, moments.mean[groupOf(problem, r)] as Float64Array);
  });
}

/** Relative error `Σ imp·‖X̂ŵ + b − y‖² / Σ imp·‖y‖²` of real weight values [rows × cols] on given moments. */
export function relativeErrorOf(
  problem: LayerProblem,
  moments: Moments,
  values: Float64Array,
  bias?: Float64Array,
): number {
  const { rows, cols, importance } = problem;
  const { target } = moments;
  const product = byGroup(problem, values, moments.gram);
  let noise = 0;
  let signal = 0;
  for (let r = 0; r < rows; r++) {
    const row = values.subarray(r * cols, (r + 1) * cols);
    const b = bias?.[r] ?? 0;
    const energy = target.energy[r] as number;
    const form = dot(row, product.subarray(r * cols, (r + 1) * cols));
    const inner = dot(row, target.product.subarray(r * cols, (r + 1) * cols));
    const offset = dot(row, moments.mean[groupOf(problem, r)] as Float64Array) - (target.mean[r] as number);
    const weight = importance?.[r] ?? 1;
    noise += weight * (form - 2 * inner + energy + 2 * b * offset + b * b);
    signal += weight * energy;
  }
  return signal === 0 ? 0 : Math.max(noise, 0) / signal;
}

/** Rows times the Gram matrix of their group, [rows × cols]. */
export function byGroup(
  layer: Pick<LayerProblem, 'rows' | 'cols' | 'groups'>,
  values: Float32Array | Float64Array,
  gram: readonly Float64Array[],
): Float64Array {
  const { rows, cols, groups } = layer;
  if (groups === 1) return multiply(values, gram[0] as Float64Array, rows, cols);
  const out = new Float64Array(rows * cols);
  const size = (rows / groups) * cols;
  gram.forEach((h, g) => {
    out.set(multiply(values.subarray(g * size, (g + 1) * size), h, rows / groups, cols), g * size);
  });
  return out;
}

function meanDiagonal(h: Float64Array, n: number): number {
  let sum = 0;
  for (let i = 0; i < n; i++) sum += h[i * n + i] as number;
  return sum / n;
}

function subtractOuter(h: Float64Array, x: Float64Array, n: number): void {
  for (let i = 0, at = 0; i < n; i++) {
    const xi = x[i] as number;
    for (let j = 0; j < n; j++, at++) h[at] = (h[at] as number) - xi * (x[j] as number);
  }
}
