/**
 * Scores with a mask: −10,000 or the least float in front of a Softmax keeps it from looking at padding or at the future.
 * A range with such numbers in it leaves the scores no steps of their own, and need not hold them: what is far enough
 * below the largest score of its row comes out as zero wherever it is.
 */
import { BINS_BY_VALUE, binBounds } from '../sketch.js';
import { type TensorStatistics } from '../statistics.js';
import { type Distribution, type Segment } from './distribution.js';

/** Masked scores stay this far below the others: e^−12 is no step of a result of 16 bits. */
const MARGIN = 12;

/** A mask is further from the scores than this, and than this many times what scores differ by. */
const GAP = 32;
const SPREADS = 4;

/**
 * The distribution of what only softmaxes read, with masked elements moved up to where they still come out as zero; as it
 * is where there is no mask.
 */
export function withoutMask(distribution: Distribution, statistics: TensorStatistics): Distribution {
  const { segments, max } = distribution;
  const at = firstUnmasked(segments, max);
  const first = segments[at];
  if (first === undefined || !everySampleReaches(statistics, first.low)) return distribution;
  const floor = first.low - MARGIN;
  const masked = segments.slice(0, at).reduce((sum, { count }) => sum + count, 0);
  return {
    ...distribution,
    min: floor,
    segments: [{ low: floor, high: floor, count: masked }, ...segments.slice(at)],
  };
}

/** The lowest segment above a mask; −1 without one. */
function firstUnmasked(segments: readonly Segment[], max: number): number {
  for (let i = segments.length - 1; i > 0; i--) {
    const [below, above] = [segments[i - 1] as Segment, segments[i] as Segment];
    if (above.low - below.high > Math.max(GAP, SPREADS * (max - above.low))) return i;
  }
  return -1;
}

/** Whether some element of every sample is that large; otherwise the gap lies between scores of different samples. */
function everySampleReaches({ sampleMax }: TensorStatistics, low: number): boolean {
  return BINS_BY_VALUE.every((bin) => sampleMax[bin] === 0 || binBounds(bin).high >= low);
}
