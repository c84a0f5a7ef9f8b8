/**
 * The rounding and overflow modes of `ap_fixed`, under the vendor's names. Source: AMD/Xilinx HLS arbitrary precision
 * types, `ap_fixed_base.h`; saturation bits (N) are 0.
 */

/** Nearest integer; `up` decides a tie from the integer below it and the value. */
function nearest(v: number, up: (below: number, v: number) => boolean): number {
  const whole = Math.trunc(v);
  const rest = Math.abs(v - whole);
  if (rest < 0.5) return whole;
  if (rest > 0.5) return whole + Math.sign(v);
  const below = Math.floor(v);
  return up(below, v) ? below + 1 : below;
}

/** From a value in units of the least significant bit to an integer. */
export const ROUNDING = {
  /** Toward −∞, dropping the bits: the HLS default. */
  AP_TRN: Math.floor,
  AP_TRN_ZERO: Math.trunc,
  /** Ties toward +∞. */
  AP_RND: (v) => nearest(v, () => true),
  AP_RND_ZERO: (v) => nearest(v, (_, value) => value < 0),
  AP_RND_MIN_INF: (v) => nearest(v, () => false),
  /** Ties away from zero. */
  AP_RND_INF: (v) => nearest(v, (_, value) => value > 0),
  /** Ties to even (convergent). */
  AP_RND_CONV: (v) => nearest(v, (below) => below % 2 !== 0),
} as const satisfies Record<string, (v: number) => number>;

export type Rounding = keyof typeof ROUNDING;

/** A two's-complement or unsigned word and the integers it keeps without an overflow. */
export interface Word {
  readonly bits: number;
  readonly signed: boolean;
  readonly low: number;
  readonly high: number;
}

const saturate = (i: number, { low, high }: Word): number => (i < low ? low : high);

/** Keeps the low `bits` bits and reads them as the word does. */
function wrap(i: number, { bits, signed }: Word): number {
  const modulus = 2 ** bits;
  const low = ((i % modulus) + modulus) % modulus;
  return signed && low >= modulus / 2 ? low - modulus : low;
}

/**
 * Sign-magnitude wrap: when the lowest dropped bit differs from the new sign, all kept bits are inverted. The vendor
 * reads the dropped bit before rounding, hence `v`.
 */
function wrapSignMagnitude(i: number, v: number, word: Word): number {
  const kept = wrap(i, word);
  const dropped = wrap(Math.floor(v / 2 ** word.bits), { ...word, bits: 1, signed: false });
  return dropped === (kept < 0 ? 1 : 0) ? kept : -1 - kept;
}

/** From a rounded integer `i` outside the word to one inside; `v` is the value before rounding. */
export const OVERFLOW = {
  /** Drops the upper bits: the HLS default. */
  AP_WRAP: (i, _v, word) => wrap(i, word),
  AP_SAT: (i, _v, word) => saturate(i, word),
  AP_SAT_ZERO: () => 0,
  /** As AP_SAT in a word that does not keep −2^(W−1). */
  AP_SAT_SYM: (i, _v, word) => saturate(i, word),
  /** Signed words only. */
  AP_WRAP_SM: wrapSignMagnitude,
} as const satisfies Record<string, (i: number, v: number, word: Word) => number>;

export type Overflow = keyof typeof OVERFLOW;

/** The word of W bits that goes with an overflow mode. */
export function wordOf(bits: number, signed: boolean, overflow: Overflow): Word {
  const high = signed ? 2 ** (bits - 1) - 1 : 2 ** bits - 1;
  const low = !signed ? 0 : overflow === 'AP_SAT_SYM' ? -high : -high - 1;
  return { bits, signed, low, high };
}

/** Rounds `v` (in units of the least significant bit, finite) and brings it into the word. Exact. */
export function castToWord(v: number, word: Word, rounding: Rounding, overflow: Overflow): number {
  const i = ROUNDING[rounding](v);
  return i >= word.low && i <= word.high ? i : OVERFLOW[overflow](i, v, word);
}
