/**
 * Dynamic fixed point: P-bit integers with one exponent for the tensor (Das et al., arXiv 1802.00930), its integer
 * arithmetic, and what to do when an accumulator would overflow.
 */
import { FxqError } from '../core/index.js';
import { encodeInteger, integerGrid, integerStorage } from './affine.js';
import { floorLog2, powerOfTwoScale } from './binary-exponent.js';
import { type FormatFamily, type NumberFormat } from './format.js';
import { ROUNDING } from './rounding.js';

/** DFP-P: the largest magnitude uses P − 1 bits, so E = ⌊log2 max⌋ − (P − 2). */
export function dynamicFixedPoint(bits: number): NumberFormat {
  const { low, high } = integerGrid(bits, true);
  return {
    name: `dfp${bits}`,
    family: 'dfp',
    bits,
    signed: true,
    low,
    high,
    integer: true,
    uniform: true,
    affine: false,
    scale: 'power-of-two',
    ...integerStorage(bits, true),
    onnx: 'qdq',
    encode: (x) => encodeInteger(x, 0, low, high),
    decode: (code) => code,
    scaleFor: (absmax) => (absmax === 0 ? 1 : powerOfTwoScale(floorLog2(absmax) - (bits - 2))),
  };
}

const WIDTHS = [8, 12, 16];

export const DFP: FormatFamily = {
  syntax: 'dfp16, dfp12, dfp8',
  members: WIDTHS.map((bits) => `dfp${bits}`),
  parse(name) {
    const bits = Number(/^dfp(\d+)$/.exec(name)?.[1] ?? NaN);
    return WIDTHS.includes(bits) ? dynamicFixedPoint(bits) : undefined;
  },
};

/** Products of two P-bit integers whose sum fits an accumulator, whatever their values. */
export function safeChain(bits: number, accumulatorBits = 32): number {
  return Math.floor((2 ** (accumulatorBits - 1) - 1) / 2 ** (2 * (bits - 1)));
}

/**
 * What to do when a sum of products may leave the accumulator:
 * `detect` fails, `split` moves the partial sum to a wider one every `chain` products, `drop-bits` shifts the operands
 * right (rounding) until the whole chain is safe.
 */
export type OverflowPolicy = 'detect' | 'split' | 'drop-bits';

export interface DotProduct {
  /** Exact sum of the products that were formed; times 2^(2·dropped) it approximates Σ a·b. */
  readonly sum: number;
  /** Bits dropped from each operand. */
  readonly dropped: number;
  /** Times a partial sum was moved to the wide accumulator. */
  readonly spills: number;
  /** Largest magnitude the narrow accumulator held. */
  readonly peak: number;
}

/**
 * Σ a·b with an accumulator of fixed width. Sums are exact as long as they stay below 2^53: any chain of 16-bit
 * operands shorter than 2^22.
 *
 * @param chain products between spills under `split`; the safe chain of the operand width by default
 * @throws FxqError E_UNSUPPORTED under `detect` when the accumulator overflows, naming the position
 */
export function dotProduct(
  a: ArrayLike<number>,
  b: ArrayLike<number>,
  options: { bits: number; policy: OverflowPolicy; accumulatorBits?: number; chain?: number },
): DotProduct {
  const { bits, policy, accumulatorBits = 32 } = options;
  const limit = 2 ** (accumulatorBits - 1);
  const dropped = policy === 'drop-bits' ? bitsToDrop(bits, a.length, accumulatorBits) : 0;
  const chain =
    policy === 'split' ? Math.max(options.chain ?? safeChain(bits, accumulatorBits), 1) : Infinity;
  let wide = 0;
  let narrow = 0;
  let spills = 0;
  let peak = 0;
  for (let i = 0; i < a.length; i++) {
    if (i > 0 && i % chain === 0) {
      wide += narrow;
      narrow = 0;
      spills++;
    }
    narrow += shiftRight(a[i] as number, dropped) * shiftRight(b[i] as number, dropped);
    if (Math.abs(narrow) > peak) peak = Math.abs(narrow);
    if (narrow >= limit || narrow < -limit) throw overflow(i, accumulatorBits);
  }
  return { sum: wide + narrow, dropped, spills, peak };
}

function overflow(position: number, accumulatorBits: number): FxqError {
  return new FxqError(
    'E_UNSUPPORTED',
    `the sum of products leaves a ${accumulatorBits}-bit accumulator at product ${position + 1}`,
    'Split the reduction, drop operand bits, or use a narrower format.',
  );
}

function bitsToDrop(bits: number, length: number, accumulatorBits: number): number {
  let dropped = 0;
  while (dropped < bits - 2 && safeChain(bits - dropped, accumulatorBits) < length) dropped++;
  return dropped;
}

/** value / 2^shift, ties to even. */
export function shiftRight(value: number, shift: number): number {
  return shift === 0 ? value : ROUNDING.AP_RND_CONV(value / 2 ** shift);
}

/** Integers sharing the exponent E: value = integer · 2^E. */
export interface DfpTensor {
  readonly integers: ArrayLike<number>;
  readonly exponent: number;
}

/** Wide integers back to P bits: shifted right just enough for the largest magnitude, which raises the exponent. */
export function downConvert({ integers, exponent }: DfpTensor, bits: number): DfpTensor {
  const { low, high } = integerGrid(bits, true);
  let largest = 0;
  for (let i = 0; i < integers.length; i++) largest = Math.max(largest, Math.abs(integers[i] as number));
  const shift = largest === 0 ? 0 : Math.max(0, floorLog2(largest) + 1 - (bits - 1));
  const narrowed = Float64Array.from(integers, (i) => Math.min(Math.max(shiftRight(i, shift), low), high));
  return { integers: narrowed, exponent: exponent + shift };
}

/** a + b at the larger exponent; the operand with the smaller one loses low bits. */
export function addAligned(a: DfpTensor, b: DfpTensor): DfpTensor {
  const exponent = Math.max(a.exponent, b.exponent);
  const integers = Float64Array.from(
    a.integers,
    (i, at) =>
      shiftRight(i, exponent - a.exponent) + shiftRight(b.integers[at] as number, exponent - b.exponent),
  );
  return { integers, exponent };
}
