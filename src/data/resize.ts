/**
 * Bilinear resizing with half-pixel centres; when shrinking, the triangle widens with the factor (antialiased). The
 * definition that Pillow, torchvision (`antialias=True`) and, for enlarging, ONNX Resize `half_pixel` share.
 */
import { fromCHW, isFloat, likeArray, type Planes } from './planes.js';

/** Input pixels and weights behind every output pixel of one axis. */
interface Filter {
  readonly first: Int32Array;
  readonly count: Int32Array;
  /** `width` weights an output pixel, the unused ones zero. */
  readonly weights: Float64Array;
  readonly width: number;
}

/** Weight of input pixel i for output pixel o: max(0, 1 − |i + ½ − (o + ½)·r| / max(1, r)), r = from/to, normalized. */
function triangleFilter(from: number, to: number): Filter {
  const ratio = from / to;
  const reach = Math.max(1, ratio);
  const width = 2 * Math.ceil(reach) + 1;
  const first = new Int32Array(to);
  const count = new Int32Array(to);
  const weights = new Float64Array(to * width);
  for (let o = 0; o < to; o++) {
    const centre = (o + 0.5) * ratio;
    const low = Math.max(0, Math.floor(centre - reach + 0.5));
    const high = Math.min(from, Math.floor(centre + reach + 0.5));
    let sum = 0;
    for (let i = low; i < high; i++) {
      const weight = Math.max(0, 1 - Math.abs(i + 0.5 - centre) / reach);
      weights[o * width + i - low] = weight;
      sum += weight;
    }
    for (let k = 0; k < high - low; k++) weights[o * width + k] = (weights[o * width + k] as number) / sum;
    first[o] = low;
    count[o] = high - low;
  }
  return { first, count, weights, width };
}

/** The image at another size; integers are rounded. */
export function resize(image: Planes, height: number, width: number): Planes {
  if (height === image.height && width === image.width) return image;
  const { channels, data, stride } = image;
  const across = triangleFilter(image.width, width);
  const down = triangleFilter(image.height, height);
  const rows = new Float64Array(image.height * width);
  const out = likeArray(data, channels * height * width);
  const whole = !isFloat(data);
  for (let c = 0; c < channels; c++) {
    for (let y = 0; y < image.height; y++) {
      const row = image.offset + c * stride.c + y * stride.y;
      for (let x = 0; x < width; x++) {
        const first = across.first[x] as number;
        let sum = 0;
        for (let k = 0; k < (across.count[x] as number); k++)
          sum +=
            (across.weights[x * across.width + k] as number) * (data[row + (first + k) * stride.x] as number);
        rows[y * width + x] = sum;
      }
    }
    for (let y = 0; y < height; y++) {
      const first = down.first[y] as number;
      for (let x = 0; x < width; x++) {
        let sum = 0;
        for (let k = 0; k < (down.count[y] as number); k++)
          sum += (down.weights[y * down.width + k] as number) * (rows[(first + k) * width + x] as number);
        out[(c * height + y) * width + x] = whole ? Math.round(sum) : sum;
      }
    }
  }
  return fromCHW(out, [channels, height, width]);
}
