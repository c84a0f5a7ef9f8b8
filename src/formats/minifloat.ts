/** Floating point of 4, 6 and 8 bits: OCP FP8, FP6 and FP4 (Microscaling v1.0) and the FNUZ variants of FP8. */
import { dtypeOpset, roundHalfEven, type DType } from '../tensor/index.js';
import { float32Scale, floorLog2 } from './binary-exponent.js';
import { type FormatFamily, type NumberFormat } from './format.js';

/** What the topmost bit patterns mean. */
type Specials =
  /** Exponent all ones: infinities and NaN. */
  | 'ieee'
  /** Only S.11…1 is NaN; no infinities. */
  | 'finite'
  /** Finite, one unsigned zero; the pattern of −0 is NaN. */
  | 'fnuz'
  /** Every pattern is a number. */
  | 'none';

interface Layout {
  readonly exponent: number;
  readonly mantissa: number;
  readonly bias: number;
  readonly max: number;
  readonly specials: Specials;
  /** ONNX type with QuantizeLinear kernels; the others are tables. */
  readonly dtype?: DType;
}

/** Exponent bits, mantissa bits, bias and largest finite value. */
export const MINIFLOATS = {
  e4m3: { exponent: 4, mantissa: 3, bias: 7, max: 448, specials: 'finite', dtype: 'float8e4m3fn' },
  e5m2: { exponent: 5, mantissa: 2, bias: 15, max: 57344, specials: 'ieee', dtype: 'float8e5m2' },
  e4m3fnuz: { exponent: 4, mantissa: 3, bias: 8, max: 240, specials: 'fnuz', dtype: 'float8e4m3fnuz' },
  e5m2fnuz: { exponent: 5, mantissa: 2, bias: 16, max: 57344, specials: 'fnuz', dtype: 'float8e5m2fnuz' },
  e3m2: { exponent: 3, mantissa: 2, bias: 3, max: 28, specials: 'none' },
  e2m3: { exponent: 2, mantissa: 3, bias: 1, max: 7.5, specials: 'none' },
  e2m1: { exponent: 2, mantissa: 1, bias: 1, max: 6, specials: 'none' },
} as const satisfies Record<string, Layout>;

export type MinifloatName = keyof typeof MINIFLOATS;

/** Exponent of the largest finite value: emax of the Microscaling specification. */
export function maxExponent(name: MinifloatName): number {
  return floorLog2(MINIFLOATS[name].max);
}

/** A small floating-point format with a free scale. Codes are bit patterns; values beyond the largest saturate. */
export function minifloat(name: MinifloatName): NumberFormat {
  const layout: Layout = MINIFLOATS[name];
  const bits = 1 + layout.exponent + layout.mantissa;
  const dtype = layout.dtype ?? (bits <= 4 ? 'uint4' : 'uint8');
  return {
    name,
    family: 'minifloat',
    bits,
    signed: true,
    low: 0,
    high: 2 ** bits - 1,
    integer: false,
    uniform: false,
    affine: false,
    scale: 'float',
    dtype,
    opset: Math.max(13, dtypeOpset(dtype)),
    onnx: layout.dtype === undefined ? 'table' : 'qdq',
    encode: (x) => encode(x, layout),
    decode: (code) => decode(code, layout),
    scaleFor: (absmax) => float32Scale(absmax / layout.max),
  };
}

function decode(code: number, { exponent, mantissa, bias, specials }: Layout): number {
  const signBit = 1 << (exponent + mantissa);
  const field = (code >> mantissa) & ((1 << exponent) - 1);
  const fraction = code & ((1 << mantissa) - 1);
  if (specials === 'fnuz' && code === signBit) return NaN;
  if (specials === 'finite' && (code & (signBit - 1)) === signBit - 1) return NaN;
  const sign = code & signBit ? -1 : 1;
  if (specials === 'ieee' && field === (1 << exponent) - 1) return fraction === 0 ? sign * Infinity : NaN;
  return field === 0
    ? sign * fraction * 2 ** (1 - bias - mantissa)
    : sign * ((1 << mantissa) + fraction) * 2 ** (field - bias - mantissa);
}

function encode(x: number, layout: Layout): number {
  const { exponent, mantissa, bias, max, specials } = layout;
  const signBit = 1 << (exponent + mantissa);
  if (Number.isNaN(x)) return nanCode(layout);
  const sign = x < 0 || Object.is(x, -0) ? signBit : 0;
  const magnitude = Math.min(Math.abs(x), max);
  if (magnitude === 0) return specials === 'fnuz' ? 0 : sign;
  const lowest = 1 - bias;
  const e = Math.max(floorLog2(magnitude), lowest);
  // Rounding the value, not the fields, lets a carry out of the mantissa move into the exponent by addition.
  const units = roundHalfEven(magnitude / 2 ** (e - mantissa));
  const code = units + ((e - lowest) << mantissa);
  return code === 0 && specials === 'fnuz' ? 0 : sign | code;
}

/** FP4 and FP6 have no NaN; it becomes zero there. */
function nanCode({ exponent, mantissa, specials }: Layout): number {
  const signBit = 1 << (exponent + mantissa);
  return { ieee: signBit - 1, finite: signBit - 1, fnuz: signBit, none: 0 }[specials];
}

export const MINIFLOAT: FormatFamily = {
  syntax: Object.keys(MINIFLOATS).join(', '),
  members: Object.keys(MINIFLOATS),
  parse: (name) => (Object.hasOwn(MINIFLOATS, name) ? minifloat(name as MinifloatName) : undefined),
};
