/** Affine integers: value = scale · (code − zeroPoint), N bits, signed or unsigned, full or narrow range. */
import { type DType, dtypeOpset, roundHalfEven } from '../tensor/index.js';
import { type FormatFamily, type NumberFormat } from './format.js';

/** Per-channel QuantizeLinear exists since this opset; the classic 8-bit types need no more. */
const QDQ_OPSET = 13;

const STORAGE_BITS = [2, 4, 8, 16] as const;

/** int16 and uint16 are old element types, but QuantizeLinear takes them only since opset 21. */
function opsetFor(dtype: DType): number {
  return dtype.endsWith('16') ? 21 : Math.max(QDQ_OPSET, dtypeOpset(dtype));
}

/**
 * An N-bit affine integer format. Widths without an ONNX type of their own (3, 5, 6, 7) are stored in the next wider
 * type and keep to the narrower grid.
 *
 * @param narrow drop the lowest code of a signed format, so that the grid is symmetric (QONNX `narrow`)
 */
export function affineInteger(bits: number, signed: boolean, narrow = false): NumberFormat {
  const storage = STORAGE_BITS.find((width) => width >= bits) ?? 16;
  const dtype = `${signed ? '' : 'u'}int${storage}` as DType;
  const low = signed ? -(2 ** (bits - 1)) + (narrow ? 1 : 0) : 0;
  const high = signed ? 2 ** (bits - 1) - 1 : 2 ** bits - 1;
  return {
    name: `${signed ? '' : 'u'}int${bits}${narrow ? '-narrow' : ''}`,
    family: 'affine',
    bits,
    signed,
    low,
    high,
    uniform: true,
    affine: true,
    scale: 'float',
    dtype,
    opset: opsetFor(dtype),
    onnx: { kind: 'qdq' },
    encode: (x, zeroPoint = 0) => Math.min(Math.max(roundHalfEven(x) + zeroPoint, low), high),
    decode: (code, zeroPoint = 0) => code - zeroPoint,
  };
}

const WIDTHS = [2, 3, 4, 5, 6, 7, 8, 16];

export const AFFINE: FormatFamily = {
  syntax: 'intN, uintN, intN-narrow (N = 2…8, 16)',
  members: WIDTHS.flatMap((n) => [`int${n}`, `uint${n}`, `int${n}-narrow`]),
  parse(name) {
    const match = /^(u?)int(\d+)(-narrow)?$/.exec(name);
    if (match === null) return undefined;
    const bits = Number(match[2]);
    const signed = match[1] === '';
    const narrow = match[3] !== undefined;
    if (!WIDTHS.includes(bits) || (narrow && !signed)) return undefined;
    return affineInteger(bits, signed, narrow);
  },
};
