/** The clipping range with the least mean squared error of rounding and clipping. */
import { type NumberFormat } from '../../formats/index.js';
import { type Distribution, type Segment } from './distribution.js';

/** The real values of an integer grid: multiples of `step` from `low` to `high`. */
export interface UniformGrid {
  readonly step: number;
  readonly low: number;
  readonly high: number;
}

/**
 * Mean squared error of the elements on a uniform grid, in closed form: with R(x) the integral of the squared distance
 * to the nearest multiple of s from 0 to x, `R(x) = s³·(n + 4r³)/12`, n = round(x/s), r = x/s − n; beyond the ends the
 * integral of (x − end)² is a cube. A segment contributes the difference at its ends over its width.
 */
export function gridError({ segments, count }: Distribution, grid: UniformGrid): number {
  let sum = 0;
  for (const segment of segments) sum += segment.count * meanError(segment, grid);
  return sum / count;
}

function meanError({ low, high }: Segment, grid: UniformGrid): number {
  const width = high - low;
  // The difference of two integrals loses its digits on a segment much narrower than a step.
  if (width < grid.step * 1e-3) return pointError((low + high) / 2, grid);
  return (errorIntegral(high, grid) - errorIntegral(low, grid)) / width;
}

function pointError(x: number, { step, low, high }: UniformGrid): number {
  const error = x < low ? x - low : x > high ? x - high : x - step * Math.round(x / step);
  return error * error;
}

function errorIntegral(x: number, { step, low, high }: UniformGrid): number {
  const inside = Math.min(Math.max(x, low), high);
  const n = Math.round(inside / step);
  const r = inside / step - n;
  return (step ** 3 * (n + 4 * r ** 3)) / 12 + (x - inside) ** 3 / 3;
}

/** Points of a segment that stand for it where there is no closed form. */
const POINTS = 4;

/** Mean squared error on any format's grid: segments are sampled. */
export function formatError({ segments, count }: Distribution, format: NumberFormat, scale: number): number {
  let sum = 0;
  for (const { low, high, count: n } of segments) {
    const points = low === high ? 1 : POINTS;
    for (let i = 0; i < points; i++) {
      const x = low + ((high - low) * (i + 0.5)) / points;
      const error = x - scale * format.decode(format.encode(x / scale));
      sum += (n / points) * error * error;
    }
  }
  return sum / count;
}

/** Ratio between neighbouring candidates of the coarse search, and how far down it goes. */
const COARSE = 2 ** -0.25;
const CANDIDATES = 60;

/** Halvings of the interval around the best coarse candidate. */
const REFINEMENTS = 8;

/**
 * The factor of (0, 1] with the least cost: a geometric scan, since outliers can stretch a range a thousandfold, then a
 * finer one around the best. Ties go to the larger factor, so that clipping must pay.
 */
export function leastFactor(cost: (factor: number) => number, from = 1): number {
  let best = from;
  let least = cost(from);
  const consider = (factor: number): void => {
    const value = cost(factor);
    if (value < least) {
      least = value;
      best = factor;
    }
  };
  for (let i = 1; i <= CANDIDATES; i++) consider(from * COARSE ** i);
  for (let i = 0, span = 1 - COARSE; i < REFINEMENTS; i++, span /= 2) {
    const centre = best;
    if (centre * (1 + span) <= from) consider(centre * (1 + span));
    consider(centre * (1 - span));
  }
  return best;
}

/** The range [−t, t] for a cost of t. */
export function symmetricRange(absmax: number, cost: (t: number) => number): { low: number; high: number } {
  const t = absmax * leastFactor((factor) => cost(absmax * factor));
  return { low: -t, high: t };
}

/** Factors by which one end is moved against the other before the finer search. */
const PAIRS = [1 / 8, 1 / 4, 1 / 2, 0.71, 1, 1.41, 2, 4, 8];

/** Shares of an end's distance from zero by which it is then moved. */
const MOVES = [0.25, 0.12, 0.06, 0.03, 0.015, 0.008];

/**
 * A range whose ends move on their own: both together first, then in pairs around the best, since the cost has several
 * valleys where zero points are few, then each as long as that pays.
 */
export function freeRange(
  min: number,
  max: number,
  cost: (low: number, high: number) => number,
): { low: number; high: number } {
  const common = leastFactor((f) => cost(min * f, max * f));
  let best = { low: min * common, high: max * common };
  let least = cost(best.low, best.high);
  const tryEnds = (low: number, high: number): boolean => {
    if (low < min || high > max) return false;
    const value = cost(low, high);
    if (!(value < least)) return false;
    best = { low, high };
    least = value;
    return true;
  };
  if (min < 0 && max > 0) {
    const { low, high } = best;
    for (const a of PAIRS) for (const b of PAIRS) tryEnds(Math.max(low * a, min), Math.min(high * b, max));
  }
  for (const move of MOVES) {
    for (let improved = true; improved;) {
      improved = false;
      for (const factor of [1 - move, 1 + move]) {
        if (min < 0) improved = tryEnds(best.low * factor, best.high) || improved;
        if (max > 0) improved = tryEnds(best.low, best.high * factor) || improved;
      }
    }
  }
  return best;
}
