/** Affine integers: value = scale · (code − zeroPoint), N bits, signed or unsigned, full or narrow range. */
import { type DType, dtypeOpset, roundHalfEven } from '../tensor/index.js';
import { float32Scale } from './binary-exponent.js';
import { type FormatFamily, type NumberFormat } from './format.js';

/** Per-channel QuantizeLinear exists since this opset. */
const PER_CHANNEL_OPSET = 13;

/** QuantizeLinear and DequantizeLinear take 16-bit integers since this opset. */
const QDQ16_OPSET = 21;

const STORAGE_BITS = [2, 4, 8, 16, 32] as const;

const BYTE = 8;

/** Smallest ONNX integer type with at least `bits` bits, and the first opset whose QDQ operators take it. */
export function integerStorage(bits: number, signed: boolean): { dtype: DType; opset: number } {
  const width = STORAGE_BITS.find((storage) => storage >= bits) ?? 32;
  const dtype = `${signed ? '' : 'u'}int${width}` as DType;
  return { dtype, opset: width === 16 ? QDQ16_OPSET : Math.max(PER_CHANNEL_OPSET, dtypeOpset(dtype)) };
}

/** Lowest and highest N-bit integer. */
export function integerGrid(bits: number, signed: boolean): { low: number; high: number } {
  return signed ? { low: -(2 ** (bits - 1)), high: 2 ** (bits - 1) - 1 } : { low: 0, high: 2 ** bits - 1 };
}

/** Nearest integer, ties to even, plus the zero point, saturated; NaN becomes the code of zero. */
export function encodeInteger(x: number, zeroPoint: number, low: number, high: number): number {
  if (Number.isNaN(x)) return zeroPoint;
  return Math.min(Math.max(roundHalfEven(x) + zeroPoint, low), high);
}

/**
 * An N-bit affine integer format. Widths without an ONNX type of their own (3, 5, 6, 7) are stored in the next wider
 * type and keep to the narrower grid.
 *
 * @param narrow drop the lowest code of a signed format, so that the grid is symmetric (QONNX calls it narrow)
 * @param bytes  store codes in bytes, for which runtimes have integer kernels and opset 13 is enough
 */
export function affineInteger(bits: number, signed: boolean, narrow = false, bytes = false): NumberFormat {
  const full = integerGrid(bits, signed);
  const low = narrow ? full.low + 1 : full.low;
  const high = full.high;
  return {
    name: `${signed ? '' : 'u'}int${bits}${narrow ? '-narrow' : ''}${bytes ? '-bytes' : ''}`,
    family: 'affine',
    bits,
    signed,
    low,
    high,
    integer: true,
    uniform: true,
    affine: true,
    scale: 'float',
    ...integerStorage(bytes ? BYTE : bits, signed),
    onnx: 'qdq',
    encode: (x, zeroPoint = 0) => encodeInteger(x, zeroPoint, low, high),
    decode: (code, zeroPoint = 0) => code - zeroPoint,
    scaleFor: (absmax) => float32Scale(absmax / high),
  };
}

const WIDTHS = [2, 3, 4, 5, 6, 7, 8, 16];

export const AFFINE: FormatFamily = {
  syntax: 'intN, uintN, intN-narrow (N = 2…8, 16), any of them below 8 bits -bytes',
  members: WIDTHS.flatMap((n) => [
    ...[`int${n}`, `uint${n}`, `int${n}-narrow`],
    ...(n < BYTE ? [`int${n}-bytes`, `uint${n}-bytes`] : []),
  ]),
  parse(name) {
    const match = /^(u?)int(\d+)(-narrow)?(-bytes)?$/.exec(name);
    if (match === null) return undefined;
    const bits = Number(match[2]);
    const signed = match[1] === '';
    const narrow = match[3] !== undefined;
    const bytes = match[4] !== undefined;
    if (!WIDTHS.includes(bits) || (narrow && !signed) || (bytes && bits >= BYTE)) return undefined;
    return affineInteger(bits, signed, narrow, bytes);
  },
};
