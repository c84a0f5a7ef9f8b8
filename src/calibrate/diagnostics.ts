/** How far calibration can be trusted: what ranges leave out on other data, and whether more data would widen them. */
import { BINS_BY_VALUE, binBounds } from './sketch.js';
import { distributionOf, shareOutside } from './ranges/distribution.js';
import { type TensorStatistics } from './statistics.js';

export interface OutOfRange {
  /** Share of the elements outside the range. */
  readonly elements: number;
  /** Share of the samples with an element outside, to the accuracy of a bin (6 %). */
  readonly samples: number;
}

/** What a range, chosen on some data, leaves out on these (held-out) statistics. */
export function outOfRange(
  statistics: TensorStatistics,
  range: { readonly low: number; readonly high: number },
): OutOfRange {
  const below = shareOfSamples(statistics.sampleMin, (bin) => binBounds(bin).high < range.low);
  const above = shareOfSamples(statistics.sampleMax, (bin) => binBounds(bin).low > range.high);
  return {
    elements: shareOutside(distributionOf(statistics), range.low, range.high),
    // One sample may exceed both ends; the larger share is a lower bound.
    samples: Math.max(below, above),
  };
}

/**
 * Share of the samples that come within a tenth of the extreme: near 0 the range hangs on a few samples, and more data
 * would probably widen it.
 */
export function extremeSupport({ sampleMin, sampleMax, min, max }: TensorStatistics): {
  low: number;
  high: number;
} {
  return {
    low: min < 0 ? shareOfSamples(sampleMin, (bin) => binBounds(bin).low <= 0.9 * min) : 1,
    high: max > 0 ? shareOfSamples(sampleMax, (bin) => binBounds(bin).high >= 0.9 * max) : 1,
  };
}

function shareOfSamples(sketch: Float64Array, holds: (bin: number) => boolean): number {
  let all = 0;
  let found = 0;
  for (const bin of BINS_BY_VALUE) {
    const n = sketch[bin] as number;
    all += n;
    if (n > 0 && holds(bin)) found += n;
  }
  return all === 0 ? 0 : found / all;
}
