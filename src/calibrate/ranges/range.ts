/** Ranges from sketches: one row a method. None of them runs the model again. */
import { FxqError } from '../../core/index.js';
import { parametersForRange, type NumberFormat } from '../../formats/index.js';
import { BINS_BY_VALUE, binBounds } from '../sketch.js';
import { type TensorStatistics } from '../statistics.js';
import { distributionOf, magnitudes, quantile, type Distribution } from './distribution.js';
import { entropyThreshold } from './entropy.js';
import { withoutMask } from './masked-scores.js';
import { formatError, freeRange, gridError, symmetricRange } from './mse.js';

/**
 * - `minmax`: every element
 * - `moving-average`: the mean of the samples' smallest and largest elements
 * - `percentile`: all but a share of the elements, cut at both ends alike
 * - `entropy`: least divergence of the clipped and merged distribution from the original one
 * - `mse`: least mean squared error of rounding and clipping
 * - `layer-error`: least error of the layers that read the value, see `layer-error.ts`; of the value where none does
 * - `power-of-two`: least squared error among scales that are powers of two
 */
export const RANGE_METHODS = [
  'minmax',
  'moving-average',
  'percentile',
  'entropy',
  'mse',
  'layer-error',
  'power-of-two',
] as const;
export type RangeMethod = (typeof RANGE_METHODS)[number];

export interface RangeSettings {
  readonly method: RangeMethod;
  /** Share of the elements that `percentile` keeps, in percent; 99.99 by default. */
  readonly percentile?: number;
}

/** A range method, or `auto`: the choice between them by how close the quantized model comes to the float one. */
export interface RangeChoice extends Omit<RangeSettings, 'method'> {
  readonly method: RangeMethod | 'auto';
}

/** The grid a range is for. */
export interface RangeTarget {
  readonly format: NumberFormat;
  /** Zero point 0. */
  readonly symmetric: boolean;
  /** Only softmaxes read the value, to which all that is far below the largest of its row is alike. */
  readonly softmaxOnly?: boolean;
}

/** Real values a grid should cover; zero is always among them. */
export interface Range {
  readonly low: number;
  readonly high: number;
  readonly method: string;
}

const DEFAULT_PERCENTILE = 99.99;

interface Request extends RangeTarget {
  readonly statistics: TensorStatistics;
  readonly distribution: Distribution;
  /** Extremes with zero among them. */
  readonly min: number;
  readonly max: number;
  readonly percentile: number;
}

type Ends = Pick<Range, 'low' | 'high'>;

const METHODS = {
  minmax: ({ min, max }) => ({ low: min, high: max }),
  'moving-average': ({ statistics, distribution }) => ({
    low: meanOf(statistics.sampleMin, distribution),
    high: meanOf(statistics.sampleMax, distribution),
  }),
  percentile: percentileRange,
  entropy: entropyRange,
  mse: leastErrorRange,
  'layer-error': leastErrorRange,
  'power-of-two': powerOfTwoRange,
} as const satisfies Record<RangeMethod, (request: Request) => Ends>;

/**
 * The range of a value for a grid.
 *
 * @throws FxqError E_STATISTICS when nothing finite was seen
 */
export function chooseRange(
  statistics: TensorStatistics,
  settings: RangeSettings,
  target: RangeTarget,
): Range {
  const whole = distributionOf(statistics);
  const distribution = target.softmaxOnly === true ? withoutMask(whole, statistics) : whole;
  const min = Math.min(distribution.min, 0);
  const max = Math.max(distribution.max, 0);
  const percentile = settings.percentile ?? DEFAULT_PERCENTILE;
  const request = { ...target, statistics, distribution, min, max, percentile };
  // Nothing to choose: every element is zero.
  const ends = min === max ? { low: 0, high: 0 } : METHODS[settings.method](request);
  const range = { low: Math.min(ends.low, 0), high: Math.max(ends.high, 0), method: settings.method };
  return target.symmetric ? widen(range) : range;
}

/** A grid around zero covers both signs alike. */
function widen({ low, high, method }: Range): Range {
  const reach = Math.max(-low, high);
  return { low: -reach, high: reach, method };
}

/** Mean of values known by bin. */
function meanOf(sketch: Float64Array, { min, max }: Distribution): number {
  let sum = 0;
  let count = 0;
  for (const bin of BINS_BY_VALUE) {
    const n = sketch[bin] as number;
    if (n === 0) continue;
    const { low, high } = binBounds(bin);
    sum += n * Math.min(Math.max((low + high) / 2, min), max);
    count += n;
  }
  return count === 0 ? 0 : sum / count;
}

function percentileRange({ distribution, symmetric, percentile }: Request): Ends {
  const outside = 1 - percentile / 100;
  if (symmetric) {
    const reach = quantile(magnitudes(distribution), 1 - outside);
    return { low: -reach, high: reach };
  }
  return { low: quantile(distribution, outside / 2), high: quantile(distribution, 1 - outside / 2) };
}

/** Levels of one sign decide: 128 of 256 for values of both signs, all of them for values of one. */
function entropyRange({ distribution, min, max, symmetric, format }: Request): Ends {
  const levels = 2 ** format.bits;
  const oneSided = !symmetric && (min === 0 || max === 0);
  const reach = entropyThreshold(magnitudes(distribution), oneSided ? levels : levels / 2);
  return symmetric
    ? { low: -reach, high: reach }
    : { low: Math.max(min, -reach), high: Math.min(max, reach) };
}

function leastErrorRange(request: Request): Ends {
  const { min, max, symmetric, format } = request;
  const error = errorOf(request);
  if (symmetric || !format.affine) return symmetricRange(Math.max(-min, max), (t) => error(-t, t));
  return freeRange(min, max, error);
}

/** Exponents tried below the one that clips nothing. */
const FINER_EXPONENTS = 6;

function powerOfTwoRange(request: Request): Ends {
  const { min, max, symmetric, format } = request;
  const error = errorOf(request);
  const centred = symmetric || !format.affine;
  // Width of the grid in steps: of one side when it is centred on zero. Encoding saturates at the largest level.
  const steps = centred ? format.decode(format.encode(2 ** 60)) : format.high - format.low;
  const coarsest = Math.ceil(Math.log2((centred ? Math.max(-min, max) : max - min) / steps));
  let best: Ends = { low: min, high: max };
  let least = Infinity;
  for (let exponent = coarsest; exponent >= coarsest - FINER_EXPONENTS; exponent--) {
    const step = 2 ** exponent;
    const reach = step * steps;
    const ends = centred ? { low: -reach, high: reach } : placed(min, max, reach, step);
    const value = error(ends.low, ends.high);
    if (value >= least) continue;
    least = value;
    best = ends;
  }
  return best;
}

/** A stretch of the given width that covers as much of [min, max] as it can, zero included, on multiples of `step`. */
function placed(min: number, max: number, width: number, step: number): Ends {
  const share = width / Math.max(max - min, width);
  const low = Math.max(step * Math.round((min * share) / step), -width);
  return { low, high: low + width };
}

/** Mean squared error as a function of a range, on the grid the format makes of it. */
function errorOf({ distribution, format, symmetric }: Request): (low: number, high: number) => number {
  return (low, high) => {
    const { scale, zeroPoint } = parametersForRange(format, { low, high }, { symmetric });
    if (!format.uniform || !format.integer) return formatError(distribution, format, scale);
    return gridError(distribution, {
      step: scale,
      low: scale * (format.low - zeroPoint),
      high: scale * (format.high - zeroPoint),
    });
  };
}

/** Refuses a percentile that keeps nothing or more than everything. */
export function checkRangeSettings({ percentile }: RangeSettings): void {
  if (percentile === undefined || (percentile > 50 && percentile <= 100)) return;
  throw new FxqError(
    'E_CONFIG',
    `percentile ${percentile} is not above 50 and at most 100`,
    'Give 99.99, say.',
  );
}
