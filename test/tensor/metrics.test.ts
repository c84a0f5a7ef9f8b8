import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  areaUnderCurve,
  argmax,
  cosine,
  errorSums,
  inTopK,
  klDivergence,
  relativeError,
  softmax,
  sqnr,
} from '../../src/tensor/index.js';

const numbers = (length: number): fc.Arbitrary<number[]> =>
  fc.array(fc.double({ min: -100, max: 100, noNaN: true }), { minLength: length, maxLength: length });

describe('error sums', () => {
  it('give SQNR, cosine and relative error', () => {
    const sums = errorSums([3, 4], [3, 3]);
    expect(sqnr(sums)).toBeCloseTo(10 * Math.log10(25 / 1), 12);
    expect(cosine(sums)).toBeCloseTo(21 / (5 * Math.sqrt(18)), 12);
    expect(relativeError(sums)).toBeCloseTo(1 / 25, 12);
  });

  it('add over batches', () =>
    fc.assert(
      fc.property(numbers(7), numbers(7), fc.nat(7), (a, b, at) => {
        const parts = errorSums(a.slice(at), b.slice(at), errorSums(a.slice(0, at), b.slice(0, at)));
        expect(parts).toEqual(errorSums(a, b));
      }),
    ));

  it('of equal and of empty tensors', () => {
    expect(sqnr(errorSums([1, 2], [1, 2]))).toBe(Infinity);
    expect(cosine(errorSums([0, 0], [0, 0]))).toBe(1);
    expect(cosine(errorSums([0, 0], [1, 0]))).toBe(0);
    expect(relativeError(errorSums([0], [1]))).toBe(Infinity);
    expect(relativeError(errorSums([], []))).toBe(0);
  });
});

describe('distributions', () => {
  it('softmax sums to one and does not overflow', () => {
    expect([...softmax([1000, 1000])]).toEqual([0.5, 0.5]);
    expect(softmax([0, Math.log(3)])).toBeAllclose([0.25, 0.75], { atol: 1e-15, rtol: 0 });
  });

  it('KL divergence is zero for equal ones and positive otherwise', () => {
    expect(klDivergence([0.5, 0.5], [0.5, 0.5])).toBe(0);
    expect(klDivergence([1, 0], [0.5, 0.5])).toBeCloseTo(Math.log(2), 12);
    expect(klDivergence([1, 0], [0, 1])).toBeCloseTo(Math.log(1e12), 6);
  });
});

describe('scores', () => {
  it('argmax and top-k take the first of equals', () => {
    expect(argmax([1, 3, 3])).toBe(1);
    expect([0, 1, 2].map((label) => inTopK([1, 3, 3], label, 1))).toEqual([false, true, false]);
    expect([0, 1, 2].map((label) => inTopK([1, 3, 3], label, 2))).toEqual([false, true, true]);
    expect(inTopK([1, 2], 5, 2)).toBe(false);
  });

  it('the area under the curve is the share of pairs in order', () =>
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.nat(5), fc.boolean()), { minLength: 2, maxLength: 30 }), (samples) => {
        const pairs = samples.flatMap(([s, p]) =>
          samples.flatMap(([t, q]) => (p && !q ? [s > t ? 1 : s === t ? 0.5 : 0] : [])),
        );
        const expected = pairs.reduce<number>((a, b) => a + b, 0) / pairs.length;
        const got = areaUnderCurve(
          samples.map(([s]) => s),
          samples.map(([, p]) => p),
        );
        expect([got]).toBeAllclose([expected], { atol: 1e-12, rtol: 0 });
      }),
    ));
});
