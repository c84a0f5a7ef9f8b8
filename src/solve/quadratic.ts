/** The objective of a layer problem: one quadratic form a row, with means removed where a bias absorbs them. */
import { dot, multiply } from './linear-algebra.js';
import { groupOf, type LayerProblem, type Moments, type Target } from './problem.js';

/**
 * Row r of group g costs `dHd + 2d·s + b` at ŵ = w + d, with H = gram[g], s = slope[r], b = base[r]. Distances from the
 * float weights keep small errors exact: nothing large cancels.
 */
export interface Quadratic {
  /** [cols × cols] per group. */
  readonly gram: readonly Float64Array[];
  /** w, [rows × cols]. */
  readonly reference: Float32Array;
  /** t = Hw − s, [rows × cols]: the optimum is H⁻¹t. */
  readonly linear: Float64Array;
  /** Half the gradient at w, [rows × cols]. Absent where w is the optimum. */
  readonly slope?: Float64Array;
  /** Cost of w, [rows]. */
  readonly base: Float64Array;
}

/** X·H for rows of X and a symmetric H. */
export type Product = (
  x: Float64Array,
  h: Float64Array,
  rows: number,
  cols: number,
) => Float64Array | Promise<Float64Array>;

/**
 * The quadratic a solver minimizes.
 *
 * With a free bias the best one is b = ȳ − ŵ·x̄, which leaves the centred moments H − x̄x̄ᵀ and t − ȳx̄. Damping adds
 * λ‖ŵ − w‖² with λ = damping · mean(diag H): it makes H invertible and keeps weights without input where they are.
 *
 * @param hw WH with the moments' own H, where it is known already
 */
export function quadraticOf(
  problem: LayerProblem,
  damping: number,
  hw: Float64Array = timesGram(problem, problem.weight, problem.moments.gram),
): Quadratic {
  const { rows, cols, weight, freeBias, moments } = problem;
  const { target } = moments;
  const lambdas = moments.gram.map((h) => damping * (meanDiagonal(h, cols) || 1));
  const gram = moments.gram.map((h, g) => {
    const centred = freeBias ? minusOuter(h, moments.mean[g] as Float64Array) : Float64Array.from(h);
    for (let c = 0; c < cols; c++) {
      const diagonal = Math.max(centred[c * cols + c] as number, 0);
      centred[c * cols + c] = diagonal + (lambdas[g] as number);
    }
    return centred;
  });
  const linear = Float64Array.from(target?.product ?? hw);
  const base = new Float64Array(rows);
  const slope = target === undefined ? undefined : new Float64Array(rows * cols);
  for (let r = 0; r < rows; r++) {
    const g = groupOf(problem, r);
    const [from, to] = [r * cols, (r + 1) * cols];
    const mean = moments.mean[g] as Float64Array;
    const w = weight.subarray(from, to);
    const own = dot(w, mean);
    const wanted = target?.mean[r] ?? own;
    const offset = freeBias ? own - wanted : 0;
    if (target !== undefined) {
      const [h, t] = [hw.subarray(from, to), target.product.subarray(from, to)];
      base[r] = dot(w, h) - 2 * dot(w, t) + (target.energy[r] as number) - offset * offset;
      for (let c = 0; c < cols; c++)
        (slope as Float64Array)[from + c] =
          (h[c] as number) - (t[c] as number) - offset * (mean[c] as number);
    }
    for (let c = 0; c < cols; c++) {
      const centre = freeBias ? wanted * (mean[c] as number) : 0;
      linear[from + c] = (linear[from + c] as number) - centre + (lambdas[g] as number) * (w[c] as number);
    }
  }
  return { gram, reference: weight, linear, base, ...(slope === undefined ? {} : { slope }) };
}

/** Hŵ − t, half the gradient at given weights, [rows × cols]. */
export function gradientAt(problem: LayerProblem, quadratic: Quadratic, values: Float64Array): Float64Array {
  return plusSlope(quadratic, timesGram(problem, distance(values, quadratic.reference), quadratic.gram));
}

/** The gradient from H(ŵ − w), in place. */
export function plusSlope({ slope }: Quadratic, product: Float64Array): Float64Array {
  if (slope !== undefined)
    for (let i = 0; i < slope.length; i++) product[i] = (product[i] as number) + (slope[i] as number);
  return product;
}

/** Cost of every row, [rows], from weights and the gradient there: d·(gradient + s) + b. */
export function costAt(
  problem: Pick<LayerProblem, 'rows' | 'cols'>,
  { reference, slope, base }: Quadratic,
  values: Float64Array,
  gradient: Float64Array,
): Float64Array {
  const { rows, cols } = problem;
  const cost = Float64Array.from(base);
  for (let r = 0, i = 0; r < rows; r++) {
    let sum = 0;
    for (let c = 0; c < cols; c++, i++)
      sum +=
        ((values[i] as number) - (reference[i] as number)) * ((gradient[i] as number) + (slope?.[i] ?? 0));
    cost[r] = (cost[r] as number) + sum;
  }
  return cost;
}

/** The explicit target of a layer that sees its float inputs, Y = XWᵀ. */
export function floatTarget(
  layer: Pick<LayerProblem, 'rows' | 'cols' | 'groups' | 'weight'>,
  moments: Pick<Moments, 'gram' | 'mean'>,
): Target {
  const { rows, cols, weight } = layer;
  const product = timesGram(layer, weight, moments.gram);
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
export function biasFor(
  { rows, cols, groups, weight, moments }: LayerProblem,
  values: Float64Array,
): Float64Array {
  return Float64Array.from({ length: rows }, (_, r) => {
    const mean = moments.mean[groupOf({ rows, groups }, r)] as Float64Array;
    const part = (w: Float32Array | Float64Array): number => dot(w.subarray(r * cols, (r + 1) * cols), mean);
    return (moments.target?.mean[r] ?? part(weight)) - part(values);
  });
}

/** Rows times the Gram matrix of their group, [rows × cols]. */
export function timesGram(
  layer: Pick<LayerProblem, 'rows' | 'cols' | 'groups'>,
  values: Float32Array | Float64Array,
  gram: readonly Float64Array[],
): Float64Array {
  const { rows, cols, groups } = layer;
  const out = new Float64Array(rows * cols);
  const size = (rows / groups) * cols;
  gram.forEach((h, g) => {
    out.set(multiply(values.subarray(g * size, (g + 1) * size), h, rows / groups, cols), g * size);
  });
  return out;
}

/** ŵ − w. */
export function distance(values: Float64Array, reference: Float32Array): Float64Array {
  const out = new Float64Array(values.length);
  for (let i = 0; i < out.length; i++) out[i] = (values[i] as number) - (reference[i] as number);
  return out;
}

function meanDiagonal(h: Float64Array, n: number): number {
  let sum = 0;
  for (let i = 0; i < n; i++) sum += h[i * n + i] as number;
  return sum / n;
}

/** H − xxᵀ. */
function minusOuter(h: Float64Array, x: Float64Array): Float64Array {
  const n = x.length;
  const out = new Float64Array(n * n);
  for (let i = 0, at = 0; i < n; i++) {
    const xi = x[i] as number;
    for (let j = 0; j < n; j++, at++) out[at] = (h[at] as number) - xi * (x[j] as number);
  }
  return out;
}
