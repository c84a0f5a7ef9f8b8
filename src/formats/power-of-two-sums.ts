/**
 * Multiplier-free weights: integers that are sums of at most K signed powers of two, so that a product is K shifts and
 * K − 1 additions. Two ways to get there: the nearest such integer (`potWkK`), or the K most significant bits of the
 * magnitude (`potWtK`).
 */
import { roundHalfEven } from '../tensor/index.js';
import { integerStorage, integerGrid } from './affine.js';
import { ceilLog2, powerOfTwoScale } from './binary-exponent.js';
import { type FormatFamily, type NumberFormat } from './format.js';

/** Signed powers of two in the shortest sum equal to n (its non-adjacent form). */
export function signedDigits(n: number): number {
  const magnitude = Math.abs(n);
  // The non-adjacent form of n has a digit wherever n and 3n differ.
  return populationCount(magnitude ^ (3 * magnitude));
}

/** Ones in the magnitude's binary form. */
export function magnitudeBits(n: number): number {
  return populationCount(Math.abs(n));
}

function populationCount(n: number): number {
  let count = 0;
  for (let rest = n >>> 0; rest !== 0; rest &= rest - 1) count++;
  return count;
}

/** The K most significant ones of a non-negative integer. */
function keepTopBits(n: number, k: number): number {
  let kept = 0;
  for (let rest = n, i = 0; i < k && rest > 0; i++) {
    const top = 1 << (31 - Math.clz32(rest));
    kept |= top;
    rest ^= top;
  }
  return kept;
}

/** How weights get to K terms: `k`, nearest sum of K signed powers; `t`, the top K bits of the magnitude. */
export type PotVariant = 'k' | 't';

/** W-bit integers with at most K terms and a power-of-two scale. */
export function powerOfTwoSums(bits: number, variant: PotVariant, terms: number): NumberFormat {
  const { high } = integerGrid(bits, true);
  const levels = Array.from({ length: high + 1 }, (_, n) => n).filter((n) => signedDigits(n) <= terms);
  const project = variant === 'k' ? (n: number) => nearestLevel(n, levels) : truncate(high, terms);
  return {
    name: `pot${bits}${variant}${terms}`,
    family: 'power-of-two-sums',
    bits,
    signed: true,
    low: -high,
    high,
    integer: true,
    uniform: false,
    affine: false,
    scale: 'power-of-two',
    ...integerStorage(bits, true),
    onnx: 'dequantize',
    encode: (x) => (Number.isNaN(x) || x === 0 ? 0 : Math.sign(x) * project(Math.abs(x))),
    decode: (code) => code,
    scaleFor: (absmax) => (absmax === 0 ? 1 : powerOfTwoScale(ceilLog2(absmax) - (bits - 1))),
  };
}

function truncate(high: number, terms: number): (magnitude: number) => number {
  return (magnitude) => keepTopBits(Math.min(roundHalfEven(magnitude), high), terms);
}

/** The level nearest to a magnitude, the larger one on a tie. */
function nearestLevel(magnitude: number, levels: readonly number[]): number {
  let low = 0;
  let high = levels.length - 1;
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if ((levels[middle] as number) <= magnitude) low = middle;
    else high = middle;
  }
  const below = levels[low] as number;
  const above = levels[high] as number;
  return magnitude - below < above - magnitude ? below : above;
}

/** Shifts and additions of one multiplication by each code, summed over a tensor. */
export interface ShiftAddCount {
  /** One a term, the shift by 0 included. */
  readonly shifts: number;
  /** Terms beyond the first of each weight; the accumulation itself is not counted. */
  readonly adds: number;
  readonly zeros: number;
}

/** Counts shifts and additions that replace the multiplications by these codes. */
export function countShiftAdds(codes: ArrayLike<number>, variant: PotVariant): ShiftAddCount {
  const terms = variant === 'k' ? signedDigits : magnitudeBits;
  let shifts = 0;
  let adds = 0;
  let zeros = 0;
  for (let i = 0; i < codes.length; i++) {
    const n = terms(codes[i] as number);
    shifts += n;
    adds += Math.max(n - 1, 0);
    if (n === 0) zeros++;
  }
  return { shifts, adds, zeros };
}

export const POWER_OF_TWO_SUMS: FormatFamily = {
  syntax: 'potWkK (W = 2…16 bits, K signed powers of two), potWtK (the K most significant bits)',
  members: ['pot8k1', 'pot8k2', 'pot8k3', 'pot12k2', 'pot16k4', 'pot8t1', 'pot8t2', 'pot16t4'],
  parse(name) {
    const match = /^pot(\d+)([kt])(\d+)$/.exec(name);
    if (match === null) return undefined;
    const bits = Number(match[1]);
    const terms = Number(match[3]);
    if (bits < 2 || bits > 16 || terms < 1 || terms >= bits) return undefined;
    return powerOfTwoSums(bits, match[2] as PotVariant, terms);
  },
};
