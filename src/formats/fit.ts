/** Scales and zero points: from a range, or by searching the clipping range with the least squared error. */
import { roundHalfEven } from '../tensor/index.js';
import { ceilLog2, float32Scale, powerOfTwoScale } from './binary-exponent.js';
import { type NumberFormat, type ScaleRule } from './format.js';
import { type Grouping } from './grouping.js';
import { type GroupParameters } from './quantize.js';
import { sampleAbsmax, sampleRange, type Sample } from './sample.js';

/** Scale and zero point of one group. */
export interface Parameters {
  readonly scale: number;
  readonly zeroPoint: number;
}

/** How a scale is chosen: the whole range, or the clipped range with the least mean squared error. */
export type FitMethod = 'range' | 'mse';

export interface FitOptions {
  readonly method: FitMethod;
  /** Zero point 0; formats that are not affine always are. */
  readonly symmetric: boolean;
  /** Largest magnitude of the whole tensor, for formats with a second scale. */
  readonly tensorAbsmax?: number;
}

/**
 * Parameters whose grid covers [low, high], zero included.
 *
 * Affine: `s = (high − low)/(top − bottom)`, `z = round(bottom − low/s)`; symmetric: the format's own rule.
 */
export function parametersForRange(
  format: NumberFormat,
  range: { readonly low: number; readonly high: number },
  options: Pick<FitOptions, 'symmetric' | 'tensorAbsmax'>,
): Parameters {
  const low = Math.min(range.low, 0);
  const high = Math.max(range.high, 0);
  if (options.symmetric || !format.affine) {
    const scale = format.scaleFor(Math.max(-low, high), options.tensorAbsmax);
    return { scale, zeroPoint: 0 };
  }
  const scale = float32Scale((high - low) / (format.high - format.low));
  const zeroPoint = Math.min(Math.max(roundHalfEven(format.low - low / scale), format.low), format.high);
  return { scale, zeroPoint };
}

/** The scale itself, or the smallest one of the format's kind that is not below a minimum. */
export function raiseScale({ scale: rule }: NumberFormat, scale: number, minimum: number): number {
  if (scale >= minimum) return scale;
  return rule === 'float' ? float32Scale(minimum) : powerOfTwoScale(ceilLog2(minimum));
}

/** Σ count · (value − quantized value)² of a sample, divided by the number of values. */
export function meanSquaredError(
  format: NumberFormat,
  sample: Sample,
  { scale, zeroPoint }: Parameters,
): number {
  const { values, counts } = sample;
  let sum = 0;
  let total = 0;
  for (let i = 0; i < values.length; i++) {
    const value = values[i] as number;
    const weight = counts === undefined ? 1 : (counts[i] as number);
    if (weight === 0 || !Number.isFinite(value)) continue;
    const code = format.encode(value / scale, zeroPoint);
    const error = value - scale * format.decode(code, zeroPoint);
    sum += weight * error * error;
    total += weight;
  }
  return total === 0 ? 0 : sum / total;
}

/** 1, 0.95 … 0.2. */
const FRACTIONS = Array.from({ length: 17 }, (_, i) => 1 - i / 20);

/** Steps around the best fraction. */
const REFINEMENT = [-0.04, -0.03, -0.02, -0.01, 0.01, 0.02, 0.03, 0.04];

/**
 * Fractions of the range that a search tries, by kind of scale. Powers of two change only with a factor of two, so a few
 * factors are an exhaustive search: F − 1 … F + 5 around the point that just avoids overflow.
 */
const CANDIDATES: Readonly<Record<ScaleRule, readonly number[]>> = {
  float: FRACTIONS,
  'power-of-two': [1, 2, 1 / 2, 1 / 4, 1 / 8, 1 / 16, 1 / 32],
  e8m0: [1, 2, 1 / 2],
  e4m3: FRACTIONS,
  one: [1],
};

/** Parameters for a sample. `mse` takes the first of the best candidates, so the whole range wins ties. */
export function fitParameters(format: NumberFormat, sample: Sample, options: FitOptions): Parameters {
  if (format.leastSquaresScale !== undefined)
    return { scale: format.leastSquaresScale(sample), zeroPoint: 0 };
  const range = sampleRange(sample);
  const clippedTo = (fraction: number): Parameters =>
    parametersForRange(format, { low: range.low * fraction, high: range.high * fraction }, options);
  if (options.method === 'range') return clippedTo(1);
  const error = (fraction: number): number => meanSquaredError(format, sample, clippedTo(fraction));
  const candidates = CANDIDATES[format.scale];
  const best = leastBy(candidates, error);
  if (candidates !== FRACTIONS) return clippedTo(best);
  return clippedTo(leastBy([best, ...REFINEMENT.map((step) => best + step)], error));
}

function leastBy(candidates: readonly number[], cost: (x: number) => number): number {
  let best = candidates[0] ?? 1;
  let least = Infinity;
  for (const candidate of candidates) {
    const value = cost(candidate);
    if (value < least) {
      least = value;
      best = candidate;
    }
  }
  return best;
}

/** Parameters of every group of a tensor. */
export function fitGroups(
  format: NumberFormat,
  values: ArrayLike<number>,
  grouping: Grouping,
  options: Omit<FitOptions, 'tensorAbsmax'>,
): GroupParameters {
  const samples = splitByGroup(values, grouping);
  const ranges = samples.map((values) => sampleRange({ values }));
  const tensorAbsmax = ranges.reduce((most, { low, high }) => Math.max(most, -low, high), 0);
  const fits = samples.map((values) => fitParameters(format, { values }, { ...options, tensorAbsmax }));
  return {
    scale: Float32Array.from(fits, (fit) => fit.scale),
    zeroPoint: Int32Array.from(fits, (fit) => fit.zeroPoint),
  };
}

/** A format with nothing left open, and the parameters of every group. */
export interface FittedTensor extends GroupParameters {
  readonly format: NumberFormat;
}

/** Elements that a format's own parameter is searched on. */
const SEARCHED = 2 ** 16;

/**
 * Parameters of every group, and the format's own parameter where it has one. With clipped ranges the two depend on each
 * other: the parameter is chosen for whole ranges, then again for the clipped ones, and the better pair is kept.
 */
export function fitTensor(
  format: NumberFormat,
  values: ArrayLike<number>,
  grouping: Grouping,
  options: Omit<FitOptions, 'tensorAbsmax'>,
): FittedTensor {
  if (format.fitted === undefined) return { format, ...fitGroups(format, values, grouping, options) };
  const samples = splitByGroup(values, grouping);
  const thinned = samples.map((sample) => thin(sample, Math.ceil(values.length / SEARCHED)));
  const whole = Float64Array.from(samples, (values) => format.scaleFor(sampleAbsmax({ values })));
  const fit = (scales: ArrayLike<number>): FittedTensor => {
    const settled = format.fitted?.(thinned, scales) ?? format;
    return { format: settled, ...fitGroups(settled, values, grouping, options) };
  };
  const first = fit(whole);
  if (options.method === 'range') return first;
  const second = fit(first.scale);
  const error = ({ format, scale }: FittedTensor): number =>
    thinned.reduce(
      (sum, sample, i) =>
        sum +
        sample.values.length * meanSquaredError(format, sample, { scale: scale[i] as number, zeroPoint: 0 }),
      0,
    );
  return error(second) < error(first) ? second : first;
}

/** Every n-th value. */
function thin(values: Float64Array, n: number): Sample {
  return { values: n === 1 ? values : values.filter((_, i) => i % n === 0) };
}

/** The elements of every group, in order. */
export function splitByGroup(values: ArrayLike<number>, grouping: Grouping): Float64Array[] {
  const sizes = new Int32Array(grouping.count);
  for (let i = 0; i < values.length; i++) {
    const group = grouping.of(i);
    sizes[group] = (sizes[group] ?? 0) + 1;
  }
  const samples = Array.from(sizes, (size) => new Float64Array(size));
  sizes.fill(0);
  for (let i = 0; i < values.length; i++) {
    const group = grouping.of(i);
    const at = sizes[group] ?? 0;
    (samples[group] as Float64Array)[at] = values[i] as number;
    sizes[group] = at + 1;
  }
  return samples;
}
