/** Choosing the exponent of a power format: a scan with golden-section refinement, or gradient descent. */
import { roundHalfEven } from '../tensor/index.js';
import { sampleAbsmax, type Sample } from './sample.js';

/** Exponents that are tried: the range of PowerQuant's search. */
const LOWEST = 0.3;
const HIGHEST = 1.2;
const SCAN_STEP = 0.05;
const TOLERANCE = 1e-3;
const GOLDEN = (Math.sqrt(5) - 1) / 2;

/**
 * Σ (w − deq(q(w)))² over all groups.
 *
 * @param scales M of every group, its own largest magnitude when absent; larger weights are clipped
 */
export function powerError(
  groups: readonly Sample[],
  bits: number,
  exponent: number,
  scales: ArrayLike<number> = groups.map(sampleAbsmax),
): number {
  return groups.reduce(
    (sum, group, i) => sum + errorAndSlope(group, bits, exponent, scales[i] as number).error,
    0,
  );
}

/**
 * The exponent with the smallest weight error. One group list per layer gives per-layer exponents, the groups of all
 * layers together the global one.
 */
export function searchExponent(
  groups: readonly Sample[],
  bits: number,
  scales: ArrayLike<number> = groups.map(sampleAbsmax),
): number {
  const error = (a: number): number => powerError(groups, bits, a, scales);
  let best = LOWEST;
  let least = Infinity;
  for (let step = 0; step <= Math.round((HIGHEST - LOWEST) / SCAN_STEP); step++) {
    const a = LOWEST + step * SCAN_STEP;
    const e = error(a);
    if (e < least) {
      least = e;
      best = a;
    }
  }
  return goldenSection(error, best - SCAN_STEP, best + SCAN_STEP);
}

function goldenSection(f: (x: number) => number, from: number, to: number): number {
  let low = from;
  let high = to;
  let left = high - GOLDEN * (high - low);
  let right = low + GOLDEN * (high - low);
  let atLeft = f(left);
  let atRight = f(right);
  while (high - low > TOLERANCE) {
    if (atLeft <= atRight) {
      high = right;
      right = left;
      atRight = atLeft;
      left = high - GOLDEN * (high - low);
      atLeft = f(left);
    } else {
      low = left;
      left = right;
      atLeft = atRight;
      right = low + GOLDEN * (high - low);
      atRight = f(right);
    }
  }
  return (low + high) / 2;
}

/** Settings of {@link learnExponent}. */
export interface LearnExponentOptions {
  readonly start: number;
  readonly steps?: number;
  readonly learningRate?: number;
}

/**
 * Gradient descent on the exponent with the straight-through estimator for rounding (NUPES learns it this way, there
 * through the layer's output). Adam; the best iterate is kept, because the last one oscillates between neighbours.
 */
export function learnExponent(
  groups: readonly Sample[],
  bits: number,
  { start, steps = 100, learningRate = 0.02 }: LearnExponentOptions,
): number {
  let a = start;
  let best = { a, error: Infinity };
  let mean = 0;
  let square = 0;
  for (let step = 1; step <= steps; step++) {
    const sums = groups.map((group) => errorAndSlope(group, bits, a, sampleAbsmax(group)));
    const error = sums.reduce((sum, s) => sum + s.error, 0);
    const slope = sums.reduce((sum, s) => sum + s.slope, 0);
    if (error < best.error) best = { a, error };
    mean = 0.9 * mean + 0.1 * slope;
    square = 0.999 * square + 0.001 * slope * slope;
    const stepSize = mean / (1 - 0.9 ** step) / (Math.sqrt(square / (1 - 0.999 ** step)) + 1e-12);
    a = Math.min(Math.max(a - learningRate * stepSize, LOWEST), HIGHEST);
  }
  return best.a;
}

/**
 * Error of one group and its derivative by a. With t = L·ρ^a, ρ = |w|/M, and u = round(t)/L, deq = M·u^(1/a):
 * ∂deq/∂a = deq/a · (t·ln ρ / round(t) − ln(u)/a), the first term from ∂t/∂a with the straight-through estimator. A
 * clipped weight stays at M whatever a is.
 */
function errorAndSlope(
  group: Sample,
  bits: number,
  a: number,
  largest: number,
): { error: number; slope: number } {
  const { values, counts } = group;
  const top = 2 ** (bits - 1) - 1;
  let error = 0;
  let slope = 0;
  for (let i = 0; i < values.length; i++) {
    const magnitude = Math.abs(values[i] as number);
    if (magnitude === 0 || !Number.isFinite(magnitude)) continue;
    const weight = counts === undefined ? 1 : (counts[i] as number);
    const logRho = Math.log(magnitude / largest);
    const t = top * Math.exp(a * logRho);
    const code = Math.min(roundHalfEven(t), top);
    if (code === 0) {
      error += weight * magnitude * magnitude;
      continue;
    }
    const logU = Math.log(code / top);
    const level = largest * Math.exp(logU / a);
    const difference = level - magnitude;
    error += weight * difference * difference;
    if (t > top) continue;
    slope += weight * 2 * difference * (level / a) * ((t * logRho) / code - logU / a);
  }
  return { error, slope };
}
