/** Power exponents: search, gradient, levels. */
import { describe, expect, it } from 'vitest';
import { createRng } from '../../src/core/index.js';
import { learnExponent, parseFormat, powerError, searchExponent } from '../../src/formats/index.js';

const rng = createRng(11);
const draw = (f: () => number): Float64Array => Float64Array.from({ length: 2 ** 14 }, f);
const uniform = draw(() => 2 * rng.uniform() - 1);
const gaussian = draw(() => rng.normal());
const laplace = draw(() => Math.log(1 - rng.uniform()) * (rng.uniform() < 0.5 ? 1 : -1));

describe('searchExponent', () => {
  it.each([
    ['uniform', uniform, 1],
    ['Gaussian', gaussian, 0.65],
    ['Laplace', laplace, 0.52],
  ])('%s data', (_, values, expected) =>
    expect(Math.abs(searchExponent([{ values }], 4) - expected)).toBeLessThan(0.06),
  );

  it('cuts the error of bell-shaped weights, not of uniform ones', () => {
    const gain = (values: Float64Array): number => {
      const groups = [{ values }];
      return powerError(groups, 4, searchExponent(groups, 4)) / powerError(groups, 4, 1);
    };
    expect(gain(gaussian)).toBeLessThan(0.72);
    expect(gain(laplace)).toBeLessThan(0.5);
    expect(gain(uniform)).toBeGreaterThan(0.98);
  });

  it('has nothing to choose at 2 bits', () => {
    const groups = [{ values: gaussian }];
    const errors = [0.4, 0.7, 1].map((a) => powerError(groups, 2, a));
    // {−1, 0, 1} whatever a is; only the threshold between 0 and ±1 moves.
    for (const a of [0.4, 0.7, 1]) expect(parseFormat(`power2a${a}`).decode(1)).toBe(1);
    expect(errors.every(Number.isFinite)).toBe(true);
  });

  it('takes one exponent for many groups', () => {
    const both = [{ values: uniform }, { values: laplace }];
    const a = searchExponent(both, 4);
    expect(a).toBeLessThan(1);
    expect(a).toBeGreaterThan(0.4);
  });
});

describe('learnExponent', () => {
  it.each([
    ['Gaussian', gaussian, 1],
    ['Laplace', laplace, 0.9],
  ])('comes within 2 %% of the search from afar: %s', (_, values, start) => {
    const groups = [{ values }];
    const learned = powerError(groups, 4, learnExponent(groups, 4, { start }));
    const searched = powerError(groups, 4, searchExponent(groups, 4));
    expect(learned).toBeLessThan(1.02 * searched);
  });
});

describe('power formats', () => {
  it('are exact signed squares at a = 1/2', () => {
    const format = parseFormat('power4a0.5');
    for (let q = -7; q <= 7; q++) expect(format.decode(q)).toBeCloseTo((q * Math.abs(q)) / 49, 14);
  });

  it('preserve products up to one constant', () => {
    const format = parseFormat('power8a0.5');
    const [u, v] = [0.31, 0.72];
    const product = format.decode(format.encode(u)) * format.decode(format.encode(v));
    const scaled = (format.encode(u) * format.encode(v)) / 127 ** 2;
    expect(scaled ** 2).toBeCloseTo(product, 12);
  });

  it('fit their own exponent and put it into the name', () => {
    const format = parseFormat('power4');
    const fitted = format.fitted!([{ values: gaussian }]);
    expect(fitted.name).toMatch(/^power4a0\.6\d*$/);
    expect(parseFormat(fitted.name).decode(3)).toBe(fitted.decode(3));
    expect(fitted.fitted).toBeUndefined();
  });
});
