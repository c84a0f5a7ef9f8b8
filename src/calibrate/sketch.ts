/**
 * The histogram over the float32 bit pattern: bin = top 13 bits (sign, exponent, 4 bits of mantissa). It needs no range
 * in advance, its bins are 1/16 of an octave wide, and filling it is one shift an element.
 */
import { type ChannelExtremes, type TensorStatistics } from './statistics.js';

export const SKETCH_BINS = 8192;

/** Low bits of the pattern that a bin does not tell apart. */
const SHIFT = 19;

/** First bin of negative values; bin 4096 + b mirrors bin b. */
const NEGATIVE = 4096;

/** Exponent 255: infinities and NaN. */
const SPECIAL = 4080;

const scratch = new DataView(new ArrayBuffer(4));

function fromBits(bits: number): number {
  scratch.setUint32(0, bits);
  return scratch.getFloat32(0);
}

/** Bin of a number, rounded to float32. */
export function binOf(value: number): number {
  scratch.setFloat32(0, value);
  return scratch.getUint32(0) >>> SHIFT;
}

/** Values of a bin, low ≤ high: [low, high) for positive ones, (low, high] for negative ones; both 0 for the zeros. */
export function binBounds(bin: number): { low: number; high: number } {
  const magnitude = bin % NEGATIVE;
  // The lowest bin of each sign holds zero and the smallest denormals, less than 2^-126 / 16.
  if (magnitude === 0) return { low: 0, high: 0 };
  const inner = fromBits(magnitude << SHIFT);
  const outer = magnitude + 1 >= SPECIAL ? 2 ** 128 : fromBits((magnitude + 1) << SHIFT);
  return bin < NEGATIVE ? { low: inner, high: outer } : { low: -outer, high: -inner };
}

/** The bins of finite values in ascending order of value; −0 comes before +0. */
export const BINS_BY_VALUE: readonly number[] = [
  ...Array.from({ length: SPECIAL }, (_, i) => NEGATIVE + SPECIAL - 1 - i),
  ...Array.from({ length: SPECIAL }, (_, i) => i),
];

/** A sketch that grows: counts and extremes change in place. */
export type SketchBuilder = { -readonly [K in keyof TensorStatistics]: TensorStatistics[K] };

export function emptySketch(name: string, channels?: { axis: number; size: number }): SketchBuilder {
  return {
    name,
    count: 0,
    min: Infinity,
    max: -Infinity,
    nan: 0,
    infinite: 0,
    histogram: new Float64Array(SKETCH_BINS),
    sampleMin: new Float64Array(SKETCH_BINS),
    sampleMax: new Float64Array(SKETCH_BINS),
    ...(channels !== undefined && {
      channels: {
        axis: channels.axis,
        min: new Float32Array(channels.size).fill(Infinity),
        max: new Float32Array(channels.size).fill(-Infinity),
      },
    }),
  };
}

/** Counts elements by bin; NaN and infinities are counted apart. */
export function addElements(sketch: SketchBuilder, elements: Float32Array): void {
  const { histogram } = sketch;
  sketch.count += elements.length;
  const bits = new Uint32Array(elements.buffer, elements.byteOffset, elements.length);
  for (let i = 0; i < bits.length; i++) {
    const bin = (bits[i] as number) >>> SHIFT;
    histogram[bin] = (histogram[bin] as number) + 1;
  }
  if (specialBins(histogram)) separateSpecial(sketch, elements);
}

function specialBins(histogram: Float64Array): boolean {
  let sum = 0;
  for (let bin = SPECIAL; bin < NEGATIVE; bin++)
    sum += (histogram[bin] as number) + (histogram[bin + NEGATIVE] as number);
  return sum > 0;
}

/** Takes NaN and infinities out of the histogram again. */
function separateSpecial(sketch: SketchBuilder, elements: Float32Array): void {
  for (const value of elements) {
    if (Number.isNaN(value)) sketch.nan++;
    else if (!Number.isFinite(value)) sketch.infinite++;
  }
  sketch.histogram.fill(0, SPECIAL, NEGATIVE);
  sketch.histogram.fill(0, SPECIAL + NEGATIVE, SKETCH_BINS);
}

/** Which extreme. */
export type Side = 'min' | 'max';

/**
 * Takes in exact extremes.
 *
 * @param values [samples, rows, channels], row-major; one channel where the sketch has none
 */
export function addExtremes(sketch: SketchBuilder, side: Side, values: Float32Array, samples: number): void {
  const sign = side === 'max' ? 1 : -1;
  const counts = side === 'max' ? sketch.sampleMax : sketch.sampleMin;
  const width = values.length / samples;
  for (let sample = 0; sample < samples; sample++) {
    let best = -Infinity;
    for (let i = sample * width; i < (sample + 1) * width; i++) {
      const value = sign * (values[i] as number);
      if (value > best) best = value;
    }
    if (best === -Infinity) continue;
    // Adding zero makes +0 of −0, so that the order in which both are met does not matter.
    const extreme = sign * best + 0;
    if (sign * extreme > sign * sketch[side]) sketch[side] = extreme;
    const bin = binOf(extreme);
    counts[bin] = (counts[bin] as number) + 1;
  }
  const channels = sketch.channels?.[side];
  if (channels !== undefined) addChannelExtremes(channels, sign, values);
}

function addChannelExtremes(channels: Float32Array, sign: number, values: Float32Array): void {
  for (let i = 0; i < values.length;) {
    for (let c = 0; c < channels.length; c++, i++) {
      const value = sign * (values[i] as number);
      if (value > sign * (channels[c] as number)) channels[c] = sign * value + 0;
    }
  }
}

/**
 * The sketch of everything that any of these saw. Channels are kept when all have the same ones.
 *
 * @param name of the result: members of one tie may be different values
 */
export function mergeSketches(sketches: readonly TensorStatistics[], name: string): TensorStatistics {
  const sum = (pick: (s: TensorStatistics) => number): number =>
    sketches.reduce((total, s) => total + pick(s), 0);
  const sumBins = (pick: (s: TensorStatistics) => Float64Array): Float64Array => {
    const total = new Float64Array(SKETCH_BINS);
    for (const sketch of sketches) {
      const part = pick(sketch);
      for (let bin = 0; bin < SKETCH_BINS; bin++) total[bin] = (total[bin] as number) + (part[bin] as number);
    }
    return total;
  };
  const channels = mergeChannels(sketches.map((s) => s.channels));
  return {
    name,
    count: sum((s) => s.count),
    min: sketches.reduce((low, s) => Math.min(low, s.min), Infinity),
    max: sketches.reduce((high, s) => Math.max(high, s.max), -Infinity),
    nan: sum((s) => s.nan),
    infinite: sum((s) => s.infinite),
    histogram: sumBins((s) => s.histogram),
    sampleMin: sumBins((s) => s.sampleMin),
    sampleMax: sumBins((s) => s.sampleMax),
    ...(channels !== undefined && { channels }),
  };
}

function mergeChannels(parts: readonly (ChannelExtremes | undefined)[]): ChannelExtremes | undefined {
  const [first] = parts;
  if (first === undefined) return undefined;
  const min = first.min.slice();
  const max = first.max.slice();
  for (const part of parts) {
    if (part === undefined || part.axis !== first.axis || part.min.length !== min.length) return undefined;
    part.min.forEach((low, c) => (min[c] = Math.min(min[c] as number, low)));
    part.max.forEach((high, c) => (max[c] = Math.max(max[c] as number, high)));
  }
  return { axis: first.axis, min, max };
}
