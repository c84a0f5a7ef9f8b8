/** A sketch as a piecewise uniform distribution, from which every range method works. */
import { FxqError } from '../../core/index.js';
import { type Sample } from '../../formats/index.js';
import { BINS_BY_VALUE, binBounds } from '../sketch.js';
import { type TensorStatistics } from '../statistics.js';

/** `count` elements spread evenly over [low, high]; a point when both are equal. */
export interface Segment {
  readonly low: number;
  readonly high: number;
  readonly count: number;
}

export interface Distribution {
  /** Extremes of all elements, finite. */
  readonly min: number;
  readonly max: number;
  /** In ascending order, without overlap. Exact zeros are a point of their own. */
  readonly segments: readonly Segment[];
  /** Elements in all segments. */
  readonly count: number;
}

/**
 * The finite elements of a sketch. Bins are cut off at the exact extremes; infinite extremes are replaced by the ends of
 * the outermost bins.
 *
 * @throws FxqError E_STATISTICS when no finite element was seen
 */
export function distributionOf({ name, histogram, ...extremes }: TensorStatistics): Distribution {
  const filled = BINS_BY_VALUE.filter((bin) => histogram[bin] !== 0);
  const [first] = filled;
  const last = filled[filled.length - 1];
  if (first === undefined || last === undefined) {
    throw new FxqError('E_STATISTICS', `value '${name}' had no finite element on the calibration data`, [
      'Give a range for it, leave the node that uses it float, or calibrate on data that reach it.',
    ]);
  }
  const min = Number.isFinite(extremes.min) ? extremes.min : binBounds(first).low;
  const max = Number.isFinite(extremes.max) ? extremes.max : binBounds(last).high;
  const within = (x: number): number => Math.min(Math.max(x, min), max);
  const segments = filled.map((bin): Segment => {
    const { low, high } = binBounds(bin);
    return { low: within(low), high: within(high), count: histogram[bin] ?? 0 };
  });
  return { min, max, segments, count: segments.reduce((sum, s) => sum + s.count, 0) };
}

/** Values that stand for a segment that is not a point. */
const POINTS = 4;

/** A distribution as values with how often they occur. */
export function asSample({ segments }: Distribution): Required<Sample> {
  const points = segments.flatMap(({ low, high, count }) =>
    low === high
      ? [{ value: low, count }]
      : Array.from({ length: POINTS }, (_, i) => ({
          value: low + ((high - low) * (i + 0.5)) / POINTS,
          count: count / POINTS,
        })),
  );
  return {
    values: Float64Array.from(points, (p) => p.value),
    counts: Float64Array.from(points, (p) => p.count),
  };
}

/** The distribution of |x|. */
export function magnitudes({ segments, min, max, count }: Distribution): Distribution {
  const folded = segments
    .map((s): Segment => (s.high <= 0 ? { ...s, low: -s.high || 0, high: -s.low || 0 } : s))
    .sort((a, b) => a.low - b.low || a.high - b.high);
  return { min: min > 0 ? min : max < 0 ? -max : 0, max: Math.max(-min, max), segments: folded, count };
}

/** The value below which a share of the elements lies, from 0 to 1. */
export function quantile({ segments, count, min, max }: Distribution, share: number): number {
  let rest = share * count;
  if (share <= 0) return min;
  for (const { low, high, count: n } of segments) {
    if (rest < n) return low + (high - low) * (rest / n);
    rest -= n;
  }
  return max;
}

/** Share of the elements outside [low, high]. */
export function shareOutside({ segments, count }: Distribution, low: number, high: number): number {
  let outside = 0;
  for (const s of segments) {
    const width = s.high - s.low;
    if (width === 0) outside += s.low < low || s.low > high ? s.count : 0;
    else {
      const inside = Math.max(0, Math.min(s.high, high) - Math.max(s.low, low)) / width;
      outside += s.count * (1 - inside);
    }
  }
  return outside / count;
}
