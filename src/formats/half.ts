/** The 16-bit floating-point types: values are stored as they are, without a scale. */
import {
  bfloat16ToNumber,
  dtypeOpset,
  float16ToNumber,
  numberToBfloat16,
  numberToFloat16,
} from '../tensor/index.js';
import { type FormatFamily, type NumberFormat } from './format.js';

const TYPES = {
  fp16: { dtype: 'float16', encode: numberToFloat16, decode: float16ToNumber },
  bf16: { dtype: 'bfloat16', encode: numberToBfloat16, decode: bfloat16ToNumber },
} as const;

/** IEEE binary16 or bfloat16. Codes are bit patterns; unlike the other formats they overflow to infinity, as Cast does. */
export function halfFloat(name: keyof typeof TYPES): NumberFormat {
  const { dtype, encode, decode } = TYPES[name];
  return {
    name,
    family: 'half',
    bits: 16,
    signed: true,
    low: 0,
    high: 0xffff,
    integer: false,
    uniform: false,
    affine: false,
    scale: 'one',
    dtype,
    opset: dtypeOpset(dtype),
    onnx: 'cast',
    encode: (x) => encode(x),
    decode: (code) => decode(code),
    scaleFor: () => 1,
  };
}

export const HALF: FormatFamily = {
  syntax: Object.keys(TYPES).join(', '),
  members: Object.keys(TYPES),
  parse: (name) => (Object.hasOwn(TYPES, name) ? halfFloat(name as keyof typeof TYPES) : undefined),
};
