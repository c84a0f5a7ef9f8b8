/**
 * Power exponents (PowerQuant, arXiv 2301.09858; NUPES, arXiv 2308.05600): levels ±(q/L)^(1/a), so that a < 1 puts more
 * of them near zero. `scale` is the largest magnitude M.
 */
import { roundHalfEven } from '../tensor/index.js';
import { float32Scale } from './binary-exponent.js';
import { type FormatFamily, type NumberFormat } from './format.js';
import { searchExponent } from './power-exponent.js';

/** Names write the exponent with at most this many decimals, and a format keeps no more. */
const DECIMALS = 4;

/** a = 1/2: levels are exact signed squares. */
const SQUARES = 0.5;

/**
 * N-bit power format, symmetric (codes −L…L, L = 2^(N−1) − 1). Encoding rounds the exponentiated value, as published,
 * not to the nearest level.
 *
 * @param exponent a; when absent it is 1/2 until `fitted` chooses one
 */
export function powerFormat(bits: number, exponent?: number): NumberFormat {
  const a = exponent === undefined ? SQUARES : Number(exponent.toFixed(DECIMALS));
  const top = 2 ** (bits - 1) - 1;
  return {
    name: `power${bits}${exponent === undefined ? '' : `a${a}`}`,
    family: 'power',
    bits,
    signed: true,
    low: -top,
    high: top,
    integer: false,
    uniform: false,
    affine: false,
    scale: 'float',
    dtype: bits <= 4 ? 'uint4' : 'uint8',
    opset: bits <= 4 ? 21 : 13,
    onnx: 'table',
    encode: (x) => encodePower(x, a, top),
    decode: (code) => Math.sign(code) * (Math.abs(code) / top) ** (1 / a),
    scaleFor: float32Scale,
    ...(exponent === undefined
      ? { fitted: (groups, scales) => powerFormat(bits, searchExponent(groups, bits, scales)) }
      : { exponent: a }),
  };
}

/** round(L · sign(x) · |x|^a), clipped. */
function encodePower(x: number, a: number, top: number): number {
  if (Number.isNaN(x) || x === 0) return 0;
  const code = Math.min(roundHalfEven(top * Math.abs(x) ** a), top);
  return code === 0 ? 0 : Math.sign(x) * code;
}

export const POWER: FormatFamily = {
  syntax: 'powerN (exponent chosen by search), powerNaA (N = 2…8; power4a0.5)',
  members: ['power3a0.6', 'power4', 'power4a0.5', 'power4a0.75', 'power8a0.5'],
  parse(name) {
    const match = /^power([2-8])(?:a(\d+(?:\.\d+)?))?$/.exec(name);
    if (match === null) return undefined;
    const exponent = match[2] === undefined ? undefined : Number(match[2]);
    if (exponent !== undefined && !(exponent >= 0.05 && exponent <= 2)) return undefined;
    return powerFormat(Number(match[1]), exponent);
  },
};
