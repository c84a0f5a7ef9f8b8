/**
 * Vector quantization: one code stands for D weights that follow each other in a layer's sum (product quantization, "And
 * the bit goes down", arXiv 1907.05686; GPTVQ, arXiv 2402.15319). `scale` is that of a group; the words, 2^N vectors of D
 * bytes, are shared by all groups.
 */
import { FxqError } from '../core/index.js';
import { integerStorage } from './affine.js';
import { float32Scale } from './binary-exponent.js';
import { type FormatFamily, type NumberFormat } from './format.js';

/** Largest entry of a word: words are stored in bytes, as in GPTVQ, so that they cost little beside the codes. */
export const WORD_LIMIT = 127;

/**
 * N bits for every D weights. A weight has the code `word · D + place`, so that it can be decoded by itself; what is
 * chosen and stored is the word.
 *
 * @param levels entries of all words, [2^N × D], integers of at most 127; absent until they are learned. What is missing
 * is zero
 */
export function vectorFormat(bits: number, size: number, levels?: ArrayLike<number>): NumberFormat {
  const words = 2 ** bits;
  const name = `vector${bits}d${size}`;
  const table = Float32Array.from({ length: words * size }, (_, i) => levels?.[i] ?? 0);
  return {
    name,
    family: 'vector',
    bits: bits / size,
    signed: true,
    low: 0,
    high: words * size - 1,
    integer: false,
    uniform: false,
    affine: false,
    scale: 'float',
    ...integerStorage(bits, false),
    onnx: 'vectors',
    vector: { size, words },
    encode() {
      throw new FxqError('E_INTERNAL', `internal: ${name} has no codes of single weights`);
    },
    decode: (code) => table[code] ?? NaN,
    scaleFor: (absmax) => float32Scale(absmax / WORD_LIMIT),
    ...(levels === undefined ? {} : { levels: table }),
  };
}

/** Vectors of a row: the last one may reach over the end. */
export function vectorsOfRow(cols: number, size: number): number {
  return Math.ceil(cols / size);
}

export const VECTOR: FormatFamily = {
  syntax: 'vectorNdD (one N-bit code for D weights, N = 2…8, D = 2, 3, 4, 8)',
  members: ['vector2d2', 'vector4d2', 'vector6d2', 'vector8d2', 'vector6d3', 'vector8d4', 'vector8d8'],
  parse(name) {
    const match = /^vector([2-8])d([2348])$/.exec(name);
    return match === null ? undefined : vectorFormat(Number(match[1]), Number(match[2]));
  },
};
