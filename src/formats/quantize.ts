/** Formats applied to arrays, in the float32 arithmetic of QuantizeLinear and DequantizeLinear, bit for bit. */
import { dtypeBits } from '../tensor/index.js';
import { type NumberFormat } from './format.js';
import { type Grouping } from './grouping.js';
import { vectorsOfRow } from './vector.js';

/** Scale and zero point of every group. */
export interface GroupParameters {
  readonly scale: Float32Array;
  readonly zeroPoint: Int32Array;
}

/** Codes of a tensor with the parameters they were made with. */
export interface Quantized extends GroupParameters {
  readonly codes: Int32Array;
}

/**
 * Codes of float values: encode(value / scale), the quotient rounded to float32 as in ONNX.
 *
 * @param dither added to every quotient; uniform in [−1/2, 1/2) it makes rounding to nearest stochastic
 */
export function quantize(
  format: NumberFormat,
  values: ArrayLike<number>,
  grouping: Grouping,
  parameters: GroupParameters,
  dither?: () => number,
): Quantized {
  const codes = new Int32Array(values.length);
  for (let i = 0; i < codes.length; i++) {
    const group = grouping.of(i);
    const x = Math.fround((values[i] as number) / (parameters.scale[group] as number));
    codes[i] = format.encode(dither === undefined ? x : x + dither(), parameters.zeroPoint[group]);
  }
  return { codes, ...parameters };
}

/** Values of codes: scale · decode(code), the level and the product both rounded to float32. */
export function dequantize(
  format: NumberFormat,
  { codes, scale, zeroPoint }: Quantized,
  grouping: Grouping,
): Float32Array {
  return Float32Array.from(codes, (code, i) => {
    const group = grouping.of(i);
    return Math.fround(format.decode(code, zeroPoint[group])) * (scale[group] as number);
  });
}

/** Bytes of a stored tensor. */
export interface TensorSize {
  readonly count: number;
  readonly groups: number;
  /** Elements that are summed over: vectors end with them. All where absent. */
  readonly depth?: number;
  /** Zero points are stored. */
  readonly asymmetric?: boolean;
}

const SCALE_BYTES = { float: 4, 'power-of-two': 4, e8m0: 1, e4m3: 1, one: 0 } as const;

/** Bytes that a tensor takes in an ONNX file: packed codes, scales, zero points, and the table of levels if any. */
export function tensorBytes(
  format: NumberFormat,
  { count, groups, depth = count, asymmetric = false }: TensorSize,
): number {
  const codes = Math.ceil((codeCount(format, count, depth) * dtypeBits(format.dtype)) / 8);
  const scales = groups * SCALE_BYTES[format.scale] + (format.scale === 'e4m3' ? 4 : 0);
  const zeroPoints = asymmetric ? Math.ceil((groups * dtypeBits(format.dtype)) / 8) : 0;
  return codes + scales + zeroPoints + tableBytes(format);
}

function codeCount({ vector }: NumberFormat, count: number, depth: number): number {
  return vector === undefined || count === 0 ? count : (count / depth) * vectorsOfRow(depth, vector.size);
}

/** Levels in float32, entries of words in bytes. */
function tableBytes({ onnx, low, high }: NumberFormat): number {
  if (onnx === 'vectors') return high - low + 1;
  return onnx === 'table' ? 4 * (high - low + 1) : 0;
}
