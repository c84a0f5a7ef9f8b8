/** Images as strided views: crops, channel order and repetition move no pixel. */
import { FxqError } from '../core/index.js';
import { toFloat32, type Tensor, type TypedArray } from '../tensor/index.js';

/** Elements of an integer or float type that fits a number. */
export type PixelArray = Exclude<TypedArray, BigInt64Array | BigUint64Array>;

/** Pixel (c, y, x) is `data[offset + c·stride.c + y·stride.y + x·stride.x]`. */
export interface Planes {
  readonly data: PixelArray;
  readonly offset: number;
  readonly channels: number;
  readonly height: number;
  readonly width: number;
  readonly stride: { readonly c: number; readonly y: number; readonly x: number };
}

export function fromCHW(
  data: PixelArray,
  [channels, height, width]: readonly [number, number, number],
): Planes {
  return { data, offset: 0, channels, height, width, stride: { c: height * width, y: width, x: 1 } };
}

export function fromHWC(
  data: PixelArray,
  [height, width, channels]: readonly [number, number, number],
): Planes {
  return { data, offset: 0, channels, height, width, stride: { c: 1, y: width * channels, x: channels } };
}

/** The centre of an image; the upper left of the two middles when the margin is odd. */
export function cropCentre(image: Planes, height: number, width: number): Planes {
  const { stride, offset } = image;
  const top = Math.floor((image.height - height) / 2);
  const left = Math.floor((image.width - width) / 2);
  return { ...image, height, width, offset: offset + top * stride.y + left * stride.x };
}

/**
 * Channels as the model wants them: BGR reverses RGB, gray is repeated to three, RGB becomes gray by its luma
 * (ITU-R BT.601, rounded for integers).
 */
export function arrangeChannels(image: Planes, order: 'RGB' | 'BGR' | 'gray'): Planes {
  if (order === 'gray') return image.channels === 3 ? luma(image) : image;
  if (image.channels === 1) return { ...image, channels: 3, stride: { ...image.stride, c: 0 } };
  if (order === 'RGB') return image;
  const last = (image.channels - 1) * image.stride.c;
  return { ...image, offset: image.offset + last, stride: { ...image.stride, c: -image.stride.c } };
}

function luma(image: Planes): Planes {
  const { height, width, data, stride } = image;
  const out = likeArray(data, height * width);
  const whole = !isFloat(data);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const at = image.offset + y * stride.y + x * stride.x;
      const [r, g, b] = [data[at], data[at + stride.c], data[at + 2 * stride.c]] as [number, number, number];
      const value = 0.299 * r + 0.587 * g + 0.114 * b;
      out[y * width + x] = whole ? Math.round(value) : value;
    }
  }
  return fromCHW(out, [1, height, width]);
}

/** The image in the middle of a larger one. */
export function padCentre(image: Planes, height: number, width: number, value: number): Planes {
  const { channels, data, stride } = image;
  const out = likeArray(data, channels * height * width).fill(value);
  const top = Math.floor((height - image.height) / 2);
  const left = Math.floor((width - image.width) / 2);
  for (let c = 0; c < channels; c++) {
    for (let y = 0; y < image.height; y++) {
      const to = (c * height + top + y) * width + left;
      const from = image.offset + c * stride.c + y * stride.y;
      for (let x = 0; x < image.width; x++) out[to + x] = data[from + x * stride.x] as number;
    }
  }
  return fromCHW(out, [channels, height, width]);
}

export function isFloat(data: PixelArray): boolean {
  return data instanceof Float32Array || data instanceof Float64Array;
}

/** A zeroed array of the same type. */
export function likeArray(data: PixelArray, length: number): PixelArray {
  return new (data.constructor as new (length: number) => PixelArray)(length);
}

/** The numbers of a sample; half precision is widened, 64-bit integers have no place in an image. */
export function pixels(sample: Tensor, label: string): PixelArray {
  if (sample.dtype === 'float16' || sample.dtype === 'bfloat16') return toFloat32(sample);
  const { data } = sample;
  if (!(data instanceof BigInt64Array) && !(data instanceof BigUint64Array)) return data;
  throw new FxqError(
    'E_DATA',
    `${label} holds 64-bit integers, which are not preprocessed`,
    'Save it in a smaller type.',
  );
}
