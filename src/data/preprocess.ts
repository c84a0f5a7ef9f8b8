/** From a stored sample to float32 numbers in the model's layout. */
import { FxqError } from '../core/index.js';
import { sizeOf, type Tensor } from '../tensor/index.js';
import {
  arrangeChannels,
  cropCentre,
  fromCHW,
  fromHWC,
  padCentre,
  pixels,
  type PixelArray,
  type Planes,
} from './planes.js';
import { PREPROCESS_PRESETS, type PreprocessPreset } from './presets.js';
import { resize } from './resize.js';
import { type PreprocessSpec } from './spec.js';

/** A preprocessing with everything decided. */
export interface Preprocess {
  /** Shape of a preprocessed sample, for stored samples of this shape. */
  dims(stored: readonly number[]): readonly number[];
  /** Writes a preprocessed sample into `out` from `at` on. */
  apply(sample: Tensor, out: Float32Array, at: number): void;
  /** Everything that decides the numbers, for the content hash. */
  readonly settings: Required<Omit<PreprocessSpec, 'preset' | 'size'>> & { readonly size: readonly number[] };
}

/** What the model expects of a sample: its shape without sample axis, unknown sizes as undefined. */
export interface Expected {
  /** For messages. */
  readonly input: string;
  readonly dims: readonly (number | undefined)[] | undefined;
}

/** Channels a model is taken to have when its layout must be guessed. */
const CHANNEL_COUNTS = [1, 3, 4];

/** Decides every open point of a preprocessing from the model input and the kind of source. */
export function resolvePreprocess(
  given: PreprocessPreset | PreprocessSpec,
  expected: Expected,
  source: { readonly label: string; readonly image: boolean; readonly dims: readonly number[] | undefined },
): Preprocess {
  const own: PreprocessSpec = typeof given === 'string' ? { preset: given } : given;
  const base: PreprocessSpec = own.preset === undefined ? {} : PREPROCESS_PRESETS[own.preset];
  const spec = { ...base, ...own };
  const geometry = source.image ? spec : own;
  const layout = spec.layout ?? guessLayout(expected.dims);
  const modelSize = sizeOfInput(expected.dims, layout);
  const size = spec.size ?? modelSize ?? [];
  const fit = geometry.fit ?? (source.image && size.length > 0 ? 'stretch' : own.size ? 'stretch' : 'none');
  if (fit !== 'none' && size.length === 0) {
    throw new FxqError(
      'E_DATA',
      `input '${expected.input}' has no fixed height and width, so ${source.label} cannot be resized to it`,
      'Give preprocess.size: [height, width].',
    );
  }
  const channels = spec.channels ?? (channelCount(expected.dims, layout) === 1 ? 'gray' : 'RGB');
  const settings: Preprocess['settings'] = {
    size,
    fit,
    cropFraction: geometry.cropFraction ?? 1,
    padValue: geometry.padValue ?? 0,
    layout,
    channels,
    stored: source.image ? 'HWC' : (spec.stored ?? (source.dims?.length === 2 ? 'HW' : 'CHW')),
    scale: spec.scale ?? 1,
    mean: spec.mean ?? 0,
    std: spec.std ?? 1,
  };
  // A sample is an image when something only an image has was said of it; else it is numbers of any shape.
  const isImage =
    source.image ||
    ['size', 'fit', 'layout', 'channels', 'stored'].some(
      (key) => spec[key as keyof PreprocessSpec] !== undefined,
    );
  return isImage ? imagePreprocess(settings, source.label) : numberPreprocess(settings, source.label);
}

function guessLayout(dims: Expected['dims']): 'NCHW' | 'NHWC' {
  const isChannels = (d: number | undefined): boolean => d !== undefined && CHANNEL_COUNTS.includes(d);
  return dims?.length === 3 && !isChannels(dims[0]) && isChannels(dims[2]) ? 'NHWC' : 'NCHW';
}

function sizeOfInput(dims: Expected['dims'], layout: 'NCHW' | 'NHWC'): [number, number] | undefined {
  const [height, width] = (layout === 'NCHW' ? dims?.slice(1) : dims) ?? [];
  return dims?.length === 3 && height !== undefined && width !== undefined ? [height, width] : undefined;
}

function channelCount(dims: Expected['dims'], layout: 'NCHW' | 'NHWC'): number | undefined {
  return dims?.length === 3 ? dims[layout === 'NCHW' ? 0 : 2] : undefined;
}

type Settings = Preprocess['settings'];

function imagePreprocess(settings: Settings, label: string): Preprocess {
  const { layout, channels, stored } = settings;
  const view = (data: PixelArray, dims: readonly number[]): Planes => {
    const [a, b, c] = dims as [number, number, number];
    if (dims.length === 2) return fromCHW(data, [1, a, b]);
    if (dims.length === 3 && stored !== 'HW')
      return stored === 'CHW' ? fromCHW(data, [a, b, c]) : fromHWC(data, [a, b, c]);
    throw new FxqError(
      'E_DATA',
      `a sample of ${label} has shape [${dims.join(', ')}], which is no image stored as ${stored}`,
      'Say how images are stored with preprocess.stored: CHW, HWC or HW.',
    );
  };
  return {
    settings,
    dims(dims) {
      const image = view(new Uint8Array(0), dims);
      const [height, width] =
        settings.fit === 'none' ? [image.height, image.width] : (settings.size as [number, number]);
      const count =
        channels === 'gray' ? (image.channels === 3 ? 1 : image.channels) : Math.max(image.channels, 3);
      return layout === 'NCHW' ? [count, height, width] : [height, width, count];
    },
    apply(sample, out, at) {
      const image = fitImage(view(pixels(sample, label), sample.dims), settings);
      normalizePlanes(arrangeChannels(image, channels), settings, out, at, label);
    },
  };
}

/** Brings an image to the wanted size. */
function fitImage(image: Planes, { fit, size, cropFraction, padValue }: Settings): Planes {
  const [height, width] = size as [number, number];
  const scaled = (factor: number): Planes =>
    resize(
      image,
      Math.max(1, Math.round(image.height * factor)),
      Math.max(1, Math.round(image.width * factor)),
    );
  switch (fit) {
    case 'none':
      return image;
    case 'stretch':
      return resize(image, height, width);
    case 'crop':
      return cropCentre(
        scaled(Math.max(height / image.height, width / image.width) / cropFraction),
        height,
        width,
      );
    case 'pad':
      return padCentre(scaled(Math.min(height / image.height, width / image.width)), height, width, padValue);
  }
}

/** `(x·scale − mean)/std` with the mean and std of each of `count` channels. */
function channelMaps(
  { scale, mean, std }: Settings,
  count: number,
  label: string,
): { factor: number; shift: number }[] {
  const pick = (x: number | readonly number[], c: number): number => {
    if (typeof x === 'number') return x;
    const value = x[c];
    if (value !== undefined && (x.length === count || count === 0)) return value;
    throw new FxqError(
      'E_DATA',
      `mean and std have ${x.length} channels, samples of ${label} have ${count}`,
      'Give one number, or one a channel.',
    );
  };
  return Array.from({ length: count }, (_, c) => ({
    factor: scale / pick(std, c),
    shift: -pick(mean, c) / pick(std, c),
  }));
}

function normalizePlanes(
  image: Planes,
  settings: Settings,
  out: Float32Array,
  at: number,
  label: string,
): void {
  const { channels, height, width, stride, data } = image;
  const planar = settings.layout === 'NCHW';
  const step = planar ? 1 : channels;
  for (const [c, { factor, shift }] of channelMaps(settings, channels, label).entries()) {
    const table = data instanceof Uint8Array ? byteTable(factor, shift) : undefined;
    for (let y = 0; y < height; y++) {
      const from = image.offset + c * stride.c + y * stride.y;
      const to = at + (planar ? (c * height + y) * width : y * width * channels + c);
      if (table !== undefined) lookUpRow(data as Uint8Array, from, stride.x, table, out, to, step, width);
      else mapRow(data, from, stride.x, factor, shift, out, to, step, width);
    }
  }
}

function mapRow(
  data: PixelArray,
  from: number,
  stride: number,
  factor: number,
  shift: number,
  out: Float32Array,
  to: number,
  step: number,
  width: number,
): void {
  for (let x = 0; x < width; x++) out[to + x * step] = (data[from + x * stride] as number) * factor + shift;
}

function lookUpRow(
  data: Uint8Array,
  from: number,
  stride: number,
  table: Float32Array,
  out: Float32Array,
  to: number,
  step: number,
  width: number,
): void {
  for (let x = 0; x < width; x++) out[to + x * step] = table[data[from + x * stride] as number] as number;
}

/** The map of every byte: a look-up is faster than the arithmetic. */
function byteTable(factor: number, shift: number): Float32Array {
  return Float32Array.from({ length: 256 }, (_, byte) => byte * factor + shift);
}

/** Numbers of any shape: one map, or one for each entry of the first axis. */
function numberPreprocess(settings: Settings, label: string): Preprocess {
  return {
    settings,
    dims: (dims) => dims,
    apply(sample, out, at) {
      const listed = typeof settings.mean !== 'number' || typeof settings.std !== 'number';
      const channels = listed ? (sample.dims[0] ?? 1) : 1;
      const width = sizeOf(sample.dims) / channels;
      const data = pixels(sample, label);
      normalizePlanes(fromCHW(data, [channels, 1, width]), { ...settings, layout: 'NCHW' }, out, at, label);
    },
  };
}
