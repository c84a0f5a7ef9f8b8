/** Integer arithmetic with a shared exponent, against BigInt. */
import { describe, expect, it } from 'vitest';
import { createRng } from '../../src/core/index.js';
import { addAligned, dotProduct, downConvert, parseFormat, safeChain } from '../../src/formats/index.js';

const rng = createRng(7);

/** Largest magnitude of a Gaussian tensor of a million elements. */
const TENSOR_ABSMAX = 4.9;

/** A slice of a Gaussian tensor whose largest element fills the grid. */
function operands(bits: number, length: number): Int32Array {
  const unit = TENSOR_ABSMAX / (2 ** (bits - 1) - 1);
  const { encode } = parseFormat('dfp16');
  return Int32Array.from({ length }, () => encode(rng.normal() / unit));
}

const exact = (a: ArrayLike<number>, b: ArrayLike<number>): bigint =>
  Array.from(a, (x, i) => BigInt(x) * BigInt(b[i]!)).reduce((s, p) => s + p, 0n);

describe('safeChain', () => {
  it.each([
    [16, 1],
    [15, 7],
    [14, 31],
    [13, 127],
  ])('%i bits', (bits, chain) => expect(safeChain(bits)).toBe(chain));

  it('is the longest chain of the worst operands that fits', () => {
    const lowest = -(2 ** 14);
    const worst = (length: number): Int32Array => new Int32Array(length).fill(lowest);
    expect(dotProduct(worst(7), worst(7), { bits: 15, policy: 'detect' }).peak).toBeLessThan(2 ** 31);
    expect(() => dotProduct(worst(8), worst(8), { bits: 15, policy: 'detect' })).toThrow(/product 8/);
  });
});

describe('dotProduct', () => {
  it('detects an overflow at 16 bits and chain 2', () => {
    const a = Int32Array.of(-32768, -32768);
    expect(() => dotProduct(a, a, { bits: 16, policy: 'detect' })).toThrow(/32-bit accumulator at product 2/);
    expect(dotProduct(a.subarray(1), a.subarray(1), { bits: 16, policy: 'detect' }).sum).toBe(2 ** 30);
  });

  it('is exact when it splits', () => {
    for (const length of [1, 2, 255, 4096]) {
      const [a, b] = [operands(16, length), operands(16, length)];
      const result = dotProduct(a, b, { bits: 16, policy: 'split' });
      expect(BigInt(result.sum)).toBe(exact(a, b));
      expect(result.spills).toBe(length - 1);
      expect(result.peak).toBeLessThan(2 ** 31);
    }
  });

  it('approximates when it drops bits', () => {
    const [a, b] = [operands(16, 100), operands(16, 100)];
    const result = dotProduct(a, b, { bits: 16, policy: 'drop-bits' });
    expect(result.dropped).toBe(3);
    const norm = Math.sqrt(Number(exact(a, a)) * Number(exact(b, b)));
    expect(Math.abs(result.sum * 4 ** result.dropped - Number(exact(a, b))) / norm).toBeLessThan(1e-3);
  });

  it.each([
    [16, 256, 0, 0.03],
    [16, 1024, 0.03, 0.3],
    [16, 4096, 0.5, 0.9],
    [15, 4096, 0, 0],
  ])('overflows at %i bits and length %i as often as Gaussian sums do', (bits, length, least, most) => {
    const trials = 120;
    let overflows = 0;
    for (let i = 0; i < trials; i++) {
      try {
        dotProduct(operands(bits, length), operands(bits, length), { bits, policy: 'detect' });
      } catch {
        overflows++;
      }
    }
    expect(overflows / trials).toBeGreaterThanOrEqual(least);
    expect(overflows / trials).toBeLessThanOrEqual(most);
  });
});

describe('downConvert', () => {
  it('shifts by what the largest magnitude needs', () => {
    const { integers, exponent } = downConvert({ integers: [1000, -3, 40000], exponent: -20 }, 8);
    // 40000 has 16 bits, 8-bit words hold 7: nine bits go.
    expect(exponent).toBe(-11);
    expect(Array.from(integers)).toEqual([2, -0, 78]);
  });

  it('leaves what already fits', () => {
    expect(downConvert({ integers: [127, -128], exponent: 3 }, 9)).toEqual({
      integers: Float64Array.of(127, -128),
      exponent: 3,
    });
  });

  it('saturates the carry of the largest value', () => {
    expect(Array.from(downConvert({ integers: [255], exponent: 0 }, 8).integers)).toEqual([127]);
  });
});

describe('addAligned', () => {
  it('works at the larger exponent', () => {
    const sum = addAligned({ integers: [5, 6, 7], exponent: -2 }, { integers: [10, 10, 10], exponent: 0 });
    // 5/4 → 1, 6/4 → 2 (tie to even), 7/4 → 2.
    expect(Array.from(sum.integers)).toEqual([11, 12, 12]);
    expect(sum.exponent).toBe(0);
  });
});
