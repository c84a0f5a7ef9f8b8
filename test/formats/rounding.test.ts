/** All 7 × 5 mode pairs of ap_fixed against a bit-serial reference, over every 10-bit input and 6-bit output. */
import { describe, expect, it } from 'vitest';
import {
  OVERFLOW,
  ROUNDING,
  castToWord,
  wordOf,
  type Overflow,
  type Rounding,
} from '../../src/formats/index.js';

const SOURCE_BITS = 10;
const TARGET_BITS = 6;
/** Bits dropped at the low end; negative ones are appended. */
const SHIFTS = [-2, -1, 0, 1, 2, 3, 4, 5, 9, 10, 12];
/** Width of the working register: 10 bits moved left by 2, a carry, and sign bits to spare. */
const REGISTER = 20;

/**
 * What the hardware does, one bit at a time: shift, look at the first dropped bit and the rest, ripple the increment
 * through, look at the upper bits. No arithmetic on values.
 */
function bitSerialCast(
  pattern: number,
  sourceSigned: boolean,
  shift: number,
  targetSigned: boolean,
  rounding: Rounding,
  overflow: Overflow,
): number {
  const sourceBit = (i: number): number => {
    if (i < 0) return 0;
    if (i >= SOURCE_BITS) return negative ? 1 : 0;
    return (pattern >> i) & 1;
  };
  const negative = sourceSigned && (pattern >> (SOURCE_BITS - 1)) & 1;
  let word = 0;
  for (let i = 0; i < REGISTER; i++) word |= sourceBit(i + shift) << i;

  const first = sourceBit(shift - 1);
  let rest = 0;
  for (let i = 0; i < shift - 1; i++) rest |= sourceBit(i);
  const increments = {
    AP_TRN: 0,
    AP_TRN_ZERO: negative && (first || rest),
    AP_RND: first,
    AP_RND_ZERO: first && (negative || rest),
    AP_RND_MIN_INF: first && rest,
    AP_RND_INF: first && (!negative || rest),
    AP_RND_CONV: first && (word & 1 || rest),
  };
  for (let i = 0, carry = increments[rounding]; i < REGISTER && carry; i++) {
    carry = (word >> i) & 1;
    word ^= 1 << i;
  }

  const mask = (1 << TARGET_BITS) - 1;
  const signBit = 1 << (TARGET_BITS - 1);
  const kept = word & mask;
  const sign = (word >> (REGISTER - 1)) & 1;
  const read = (bits: number): number => (targetSigned && bits & signBit ? (bits ^ mask) * -1 - 1 : bits);
  const upper = targetSigned ? word >> (TARGET_BITS - 1) : word >> TARGET_BITS;
  const upperWidth = targetSigned ? REGISTER - TARGET_BITS + 1 : REGISTER - TARGET_BITS;
  const fits = upper === (sign && targetSigned ? (1 << upperWidth) - 1 : 0);
  const isLowest = targetSigned && kept === signBit;
  if (fits && !(overflow === 'AP_SAT_SYM' && isLowest)) return read(kept);
  const largest = targetSigned ? mask ^ signBit : mask;
  const smallest = targetSigned ? signBit : 0;
  switch (overflow) {
    case 'AP_WRAP':
      return read(kept);
    case 'AP_SAT':
      return read(sign ? smallest : largest);
    case 'AP_SAT_ZERO':
      return 0;
    case 'AP_SAT_SYM':
      return read(sign ? (targetSigned ? smallest | 1 : 0) : largest);
    case 'AP_WRAP_SM':
      return read(sourceBit(shift + TARGET_BITS) === kept >> (TARGET_BITS - 1) ? kept : kept ^ mask);
  }
}

const pairs = Object.keys(ROUNDING).flatMap((r) =>
  Object.keys(OVERFLOW).map((o) => [r as Rounding, o as Overflow] as const),
);

describe('castToWord', () => {
  it.each(pairs)('%s %s', (rounding, overflow) => {
    let compared = 0;
    for (const sourceSigned of [true, false]) {
      for (const targetSigned of overflow === 'AP_WRAP_SM' ? [true] : [true, false]) {
        const word = wordOf(TARGET_BITS, targetSigned, overflow);
        for (const shift of SHIFTS) {
          for (let pattern = 0; pattern < 2 ** SOURCE_BITS; pattern++) {
            const raw =
              sourceSigned && pattern >= 2 ** (SOURCE_BITS - 1) ? pattern - 2 ** SOURCE_BITS : pattern;
            const actual = castToWord(raw / 2 ** shift, word, rounding, overflow);
            const expected = bitSerialCast(pattern, sourceSigned, shift, targetSigned, rounding, overflow);
            // Adding 0 turns −0 into 0: two's complement has one zero.
            if (actual + 0 !== expected)
              expect.fail(`${pattern} (${raw} / 2^${shift}) → ${actual}, bit-serial ${expected}`);
            compared++;
          }
        }
      }
    }
    expect(compared).toBeGreaterThanOrEqual(2 * SHIFTS.length * 1024);
  });

  it('differs between any two roundings and any two overflow modes', () => {
    const table = (rounding: Rounding, overflow: Overflow): string => {
      const word = wordOf(TARGET_BITS, true, overflow);
      return Array.from({ length: 1024 }, (_, i) =>
        castToWord((i - 512) / 4, word, rounding, overflow),
      ).join();
    };
    expect(new Set(pairs.map(([r, o]) => table(r, o))).size).toBe(35);
  });

  it('is exact next to a tie', () => {
    const word = wordOf(8, true, 'AP_SAT');
    expect(castToWord(0.49999999999999994, word, 'AP_RND', 'AP_SAT')).toBe(0);
    expect(castToWord(-0.49999999999999994, word, 'AP_RND_INF', 'AP_SAT') + 0).toBe(0);
  });
});
