/** GPTQ: columns are rounded one by one, and the columns still open absorb each error (arXiv 2210.17323). */
import { required } from '../core/index.js';
import { nearestCode } from './grid.js';
import { cholesky, inverseUpperFactor, multiply, solveCholesky } from './linear-algebra.js';
import { plainMatrices, type Matrices } from './matrices.js';
import { productsByGroup } from './measure.js';
import { baseline, settle } from './nearest.js';
import { groupOf, type LayerProblem, type LayerSolution, type QuantizedMatrix } from './problem.js';
import { quadraticOf, type Product, type Quadratic } from './quadratic.js';
import { fitScales, nearestCodes, type CellParameters, type ScaleRule } from './scales.js';
import { factorizeGroups, successiveCodes } from './successive.js';

export interface GptqOptions {
  /** Added to the diagonal of H, relative to its mean. */
  readonly damping: number;
  /** Rounds the columns with most input energy first. Scales are static: fitted to the given weights beforehand. */
  readonly actOrder: boolean;
  readonly scales: ScaleRule;
}

export const GPTQ_DEFAULTS: GptqOptions = { damping: 0.01, actOrder: true, scales: 'mse' };

/** Solves a layer with GPTQ. Needs more rows of input than columns to beat nearest. */
export async function gptq(
  problem: LayerProblem,
  options: Partial<GptqOptions> = {},
  product: Product = multiply,
  matrices: Matrices = plainMatrices,
): Promise<LayerSolution> {
  const settings = { ...GPTQ_DEFAULTS, ...options };
  const [hw] = await productsByGroup(problem, problem.moments.gram, [problem.weight], product);
  const quadratic = quadraticOf(problem, settings.damping, hw);
  const parameters = fitScales(problem, settings.scales, quadratic);
  const factors = await factorizeGroups(quadratic, problem.cols, settings.actOrder, matrices);
  const found = await successiveCodes(problem, quadratic, parameters, factors, matrices);
  const start = settings.scales === 'mse' ? nearestCodes(problem, parameters) : baseline(problem);
  return settle(problem, 'gptq', found, start, product);
}

/** What GPTQ needs of H, for one group. */
export interface GptqFactor {
  /** Columns in the order they are rounded. */
  readonly order: readonly number[];
  /** Upper factor U of H⁻¹ = UᵀU in that order. */
  readonly upper: Float64Array;
  /** Lower factor of H in that order. */
  readonly lower: Float64Array;
}

/** Factors of every group's H, which several roundings can share. */
export function gptqFactors(quadratic: Quadratic, cols: number, actOrder: boolean): GptqFactor[] {
  return quadratic.gram.map((h) => {
    const order = actOrder ? byEnergy(h, cols) : Array.from({ length: cols }, (_, c) => c);
    const permuted = permute(h, order);
    return { order, upper: inverseUpperFactor(permuted, cols), lower: cholesky(permuted, cols) };
  });
}

/**
 * GPTQ's codes for given scales.
 *
 * What is rounded is the continuous optimum w* = w − H⁻¹s, w itself where the layer sees its float inputs: the objective
 * is (ŵ − w*)H(ŵ − w*)ᵀ up to a constant.
 */
export function gptqCodes(
  problem: LayerProblem,
  quadratic: Quadratic,
  parameters: CellParameters,
  factors = gptqFactors(quadratic, problem.cols, true),
): QuantizedMatrix {
  const { rows, cols, sharing, grid, mask } = problem;
  const codes = new Int32Array(rows * cols);
  for (let r = 0; r < rows; r++) {
    const { order, upper, lower } = required(factors[groupOf(problem, r)], `factors of row ${r}`);
    const reference = quadratic.reference.subarray(r * cols, (r + 1) * cols);
    const slope = quadratic.slope?.subarray(r * cols, (r + 1) * cols);
    const w = optimum(order, lower, reference, slope);
    const base = (sharing.rowSet[r] as number) * sharing.blocks;
    for (let i = 0; i < cols; i++) {
      const c = order[i] as number;
      const cell = base + (sharing.block[c] as number);
      const scale = parameters.scale[cell] as number;
      const zero = parameters.zeroPoint[cell] as number;
      const value = w[i] as number;
      const open = mask === undefined || mask[r * cols + c] === 1;
      const code = open ? nearestCode(value / scale, zero, grid) : zero;
      codes[r * cols + c] = code;
      const error = (value - (code - zero) * scale) / (upper[i * cols + i] as number);
      for (let j = i + 1, at = i * cols + i + 1; j < cols; j++, at++)
        w[j] = (w[j] as number) - error * (upper[at] as number);
    }
  }
  return { codes, scale: parameters.scale, zeroPoint: parameters.zeroPoint };
}

/** w − H⁻¹s of one row, in the given order of columns. */
export function optimum(
  order: ArrayLike<number>,
  lower: Float64Array,
  reference: ArrayLike<number>,
  slope: ArrayLike<number> | undefined,
): Float64Array {
  const w = Float64Array.from(order, (c) => reference[c] as number);
  if (slope === undefined) return w;
  const step = solveCholesky(
    lower,
    w.length,
    Float64Array.from(order, (c) => slope[c] as number),
  );
  return w.map((v, i) => v - (step[i] as number));
}

/** Column indices by descending input energy; equal ones stay in order. */
function byEnergy(h: Float64Array, n: number): number[] {
  return Array.from({ length: n }, (_, c) => c).sort(
    (a, b) => (h[b * n + b] as number) - (h[a * n + a] as number) || a - b,
  );
}

function permute(h: Float64Array, order: readonly number[]): Float64Array {
  const n = order.length;
  const out = new Float64Array(n * n);
  for (let i = 0; i < n; i++)
    for (let j = 0; j < n; j++) out[i * n + j] = h[(order[i] as number) * n + (order[j] as number)] as number;
  return out;
}
