/** Rescaling: real ratios as integer multiplier and shift, and their exact application. */
import { FxqError } from '../../core/index.js';
import {
  OVERFLOW,
  ROUNDING,
  wordOf,
  type FixedFormat,
  type NumberFormat,
  type Overflow,
  type Rounding,
  type Word,
} from '../../formats/index.js';
import { type Rescale } from './program.js';

/** Products stay inside int64 with a bit to spare for the rounding constant and the offset of the shift. */
const PRODUCT_BITS = 62;

/** A multiplier is below 2^31 even where the product had more room. */
const MULTIPLIER_BITS = 31;

/** The word of a format's codes and how results get into it. */
export interface ResultWord {
  readonly word: Word;
  readonly rounding: Rounding;
  readonly overflow: Overflow;
}

/**
 * Fixed point says how it rounds and overflows. Other formats saturate; a power-of-two scale makes ties frequent, so
 * they go to even as in QuantizeLinear; with a free scale they hardly occur and the cheap half-up shift is taken.
 */
export function resultWord(format: NumberFormat): ResultWord {
  if (format.family === 'fixed') {
    const { bits, signed, rounding, overflow } = format as FixedFormat;
    return { word: wordOf(bits, signed, overflow), rounding, overflow };
  }
  const { bits, signed, low, high } = format;
  return {
    word: { bits, signed, low, high },
    rounding: format.scale === 'power-of-two' ? 'AP_RND_CONV' : 'AP_RND',
    overflow: 'AP_SAT',
  };
}

/** Limits of an activation in units of the result, rounded as the format rounds; infinite ones stay. */
export function limitsInUnits(
  limits: { readonly low: number; readonly high: number },
  scale: number,
  format: NumberFormat,
): { low: number; high: number } {
  const { rounding = 'AP_RND_CONV' } = format as Partial<FixedFormat>;
  const inUnits = (limit: number): number =>
    Number.isFinite(limit) ? ROUNDING[rounding](Math.fround(limit / scale)) : limit;
  return { low: inUnits(limits.low), high: inUnits(limits.high) };
}

/** What a rescale is made from. */
export interface RescaleRequest {
  /** Real value of one unit of the accumulator over one unit of the result: one, or one a channel. */
  readonly ratios: readonly number[];
  readonly axis?: number;
  readonly format: NumberFormat;
  /** Limits of a fused activation, in units of the result. */
  readonly limits?: { readonly low: number; readonly high: number };
  /** Bits the accumulator can need, sign included. */
  readonly accumulatorBits: number;
}

/** The rescale whose multipliers are as precise as int64 products allow; exact for powers of two. */
export function makeRescale({ ratios, axis = 0, format, limits, accumulatorBits }: RescaleRequest): Rescale {
  const { rounding, overflow } = resultWord(format);
  const bits = Math.min(MULTIPLIER_BITS, PRODUCT_BITS - accumulatorBits);
  const scaled = ratios.map((ratio) => multiplierFor(ratio, bits));
  const same = scaled.every((s) => s.multiplier === scaled[0]?.multiplier && s.shift === scaled[0].shift);
  const kept = same ? scaled.slice(0, 1) : scaled;
  return {
    multiplier: kept.map((s) => s.multiplier),
    shift: kept.map((s) => s.shift),
    axis,
    rounding,
    overflow,
    limits: limits ?? { low: -Infinity, high: Infinity },
  };
}

/** ratio ≈ multiplier / 2^shift, the multiplier in [2^(bits−1), 2^bits); 1 or a power of two when that is exact. */
export function multiplierFor(ratio: number, bits: number): { multiplier: number; shift: number } {
  if (!(ratio > 0) || !Number.isFinite(ratio)) {
    throw new FxqError('E_INTERNAL', `internal: cannot rescale by ${ratio}`);
  }
  const exponent = Math.log2(ratio);
  if (Number.isInteger(exponent) && 2 ** exponent === ratio) {
    return exponent <= 0
      ? { multiplier: 1, shift: Math.min(Math.abs(exponent), PRODUCT_BITS) }
      : { multiplier: ratio, shift: 0 };
  }
  let shift = Math.min(bits - 1 - Math.floor(exponent), PRODUCT_BITS);
  let multiplier = Math.round(ratio * 2 ** shift);
  while (multiplier >= 2 ** bits) multiplier = Math.round(ratio * 2 ** --shift);
  while (shift > 0 && multiplier % 2 === 0 && multiplier > 0) {
    multiplier /= 2;
    shift--;
  }
  return { multiplier, shift };
}

/** v · multiplier / 2^shift under a rounding mode; exact for any integer v below 2^53. */
export function scaleAndRound(v: number, multiplier: number, shift: number, rounding: Rounding): number {
  const product = v * multiplier;
  if (Math.abs(product) < Number.MAX_SAFE_INTEGER) return ROUNDING[rounding](product / 2 ** shift) + 0;
  return Number(roundShift(BigInt(v) * BigInt(multiplier), shift, rounding));
}

/** p / 2^shift under a rounding mode. */
export function roundShift(p: bigint, shift: number, rounding: Rounding): bigint {
  const floor = p >> BigInt(shift);
  const rest = p - (floor << BigInt(shift));
  const half = shift === 0 ? 0n : 1n << BigInt(shift - 1);
  const fraction = rest === 0n ? 0 : rest < half ? 0.25 : rest === half ? 0.5 : 0.75;
  // The decision depends on the sign, the parity of the floor, and where the rest lies: a small number has all three.
  const parity = Number(floor & 1n);
  const model = (p < 0n ? -4 : 4) + parity;
  return floor + BigInt(ROUNDING[rounding](model + fraction) - model);
}

/** Turns the accumulators of one channel into codes of a result. */
export function channelRescaler(
  { multiplier, shift, rounding, overflow, limits }: Rescale,
  channel: number,
  zeroPoint: number,
  word: Word,
): (v: number) => number {
  const c = multiplier.length === 1 ? 0 : channel;
  const m = multiplier[c] as number;
  const n = shift[c] as number;
  const unit = 2 ** -n;
  const round: (v: number) => number = ROUNDING[rounding];
  return (v) => {
    const product = v * m;
    const isExact = product <= Number.MAX_SAFE_INTEGER && product >= -Number.MAX_SAFE_INTEGER;
    const rounded = isExact ? round(product * unit) : scaleAndRound(v, m, n, rounding);
    const limited = rounded < limits.low ? limits.low : rounded > limits.high ? limits.high : rounded;
    const code = limited + zeroPoint;
    if (code >= word.low && code <= word.high) return code;
    // Only sign-magnitude wrap looks at the value before rounding.
    const wraps = overflow === 'AP_WRAP_SM' && limited === rounded;
    return OVERFLOW[overflow](code, wraps ? scaleAndRound(v, m, n, 'AP_TRN') : limited, word);
  };
}
