/** NF4: 16 levels at quantiles of a normal distribution, scaled by the largest magnitude of 64 weights (QLoRA). */
import { float32Scale } from './binary-exponent.js';
import { type FormatFamily, type NumberFormat } from './format.js';

/** Levels as published with QLoRA (Dettmers et al., arXiv 2305.14314, appendix E). */
export const NF4_LEVELS: readonly number[] = [
  -1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635,
  -0.18477343022823334, -0.09105003625154495, 0.0, 0.07958029955625534, 0.16093020141124725,
  0.24611230194568634, 0.33791524171829224, 0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1.0,
];

/** NF4 without the second quantization of its scales. */
export function nf4(): NumberFormat {
  return {
    name: 'nf4',
    family: 'normal-float',
    bits: 4,
    signed: true,
    low: 0,
    high: 15,
    integer: false,
    uniform: false,
    affine: false,
    scale: 'float',
    block: 64,
    dtype: 'uint4',
    opset: 21,
    onnx: 'table',
    encode: (x) => nearestCode(Number.isNaN(x) ? 0 : x),
    decode: (code) => NF4_LEVELS[code] ?? NaN,
    scaleFor: float32Scale,
  };
}

const MIDPOINTS = NF4_LEVELS.slice(1).map((level, i) => (level + (NF4_LEVELS[i] as number)) / 2);

/** The number of midpoints below x. */
function nearestCode(x: number): number {
  return MIDPOINTS.filter((middle) => x > middle).length;
}

export const NORMAL_FLOAT: FormatFamily = {
  syntax: 'nf4',
  members: ['nf4'],
  parse: (name) => (name === 'nf4' ? nf4() : undefined),
};
