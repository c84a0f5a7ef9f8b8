/** Ranges: known optima, known traps, and agreement with brute force. Units are standard deviations or as noted. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { RANGE_METHODS, chooseRange, emptySketch, type RangeMethod } from '../../src/calibrate/index.js';
import { distributionOf, quantile, shareOutside } from '../../src/calibrate/ranges/distribution.js';
import { gridError } from '../../src/calibrate/ranges/mse.js';
import { parametersForRange, parseFormat } from '../../src/formats/index.js';
import { draw, gaussian, laplace, sketchOf, uniform } from './sketches.js';

const COUNT = 100_000;
const normal = draw(COUNT, gaussian);
const withOutliers = Float64Array.from([...normal, ...draw(10, (rng) => 20 * rng.normal(), 7)]);

interface Ends {
  readonly low: number;
  readonly high: number;
}

function rangeOf(values: ArrayLike<number>, method: RangeMethod, name: string, percentile?: number): Ends {
  const format = parseFormat(name);
  const symmetric = !format.affine || format.low === -format.high;
  const settings = { method, ...(percentile !== undefined && { percentile }) };
  return chooseRange(sketchOf([values]), settings, { format, symmetric });
}

function expectNear(actual: number, expected: number, relative: number): void {
  expect(Math.abs(actual - expected)).toBeLessThanOrEqual(relative * Math.abs(expected));
}

describe('mse', () => {
  it.each([
    ['Gaussian, 4 bits: 2.5', normal, 'int4-narrow', 2.5],
    ['Gaussian, 3 bits: 2.0', normal, 'int3-narrow', 2.0],
    ['Laplace, 4 bits: 3.4 deviations, of √2', draw(COUNT, laplace), 'int4-narrow', 3.4 * Math.SQRT2],
    // On uniform data the outermost cell extends half a step beyond the range: 14/15 of the extreme at 15 levels.
    ['uniform, 4 bits: 14/15', draw(COUNT, uniform), 'int4-narrow', 14 / 15],
    ['uniform, 8 bits: everything', draw(COUNT, uniform), 'int8-narrow', 1],
  ])('finds the optimum for %s', (_, values, format, expected) => {
    const { low, high } = rangeOf(values, 'mse', format);
    expectNear(high, expected, format === 'int8-narrow' ? 0.02 : 0.05);
    expect(low).toBe(-high);
  });

  it('is no worse than any range on a grid of ranges, both ends free', () => {
    const sketch = sketchOf([draw(20_000, (rng) => Math.exp(0.7 * rng.normal()) - 1.2)]);
    const distribution = distributionOf(sketch);
    const format = parseFormat('uint4');
    const error = ({ low, high }: Ends): number => {
      const { scale, zeroPoint } = parametersForRange(format, { low, high }, { symmetric: false });
      return gridError(distribution, {
        step: scale,
        low: -scale * zeroPoint,
        high: scale * (15 - zeroPoint),
      });
    };
    const found = chooseRange(sketch, { method: 'mse' }, { format, symmetric: false });
    let best = Infinity;
    for (let i = 1; i <= 30; i++)
      for (let j = 1; j <= 60; j++)
        best = Math.min(best, error({ low: (sketch.min * i) / 30, high: (sketch.max * j) / 60 }));
    expect(error(found)).toBeLessThanOrEqual(best * 1.01);
  });

  it('clips one outlier in a million times the range, where it pays', () => {
    const far = Float64Array.from([...normal, 1e6]);
    // At 16 bits a single such outlier outweighs everything: its clipping would cost more than all rounding.
    expect(rangeOf(far, 'mse', 'int16').high).toBeGreaterThan(9e5);
    const near = Float64Array.from([...normal, 12]);
    expect(rangeOf(near, 'mse', 'uint4').high).toBeLessThan(4);
  });

  it('serves formats without a uniform grid', () => {
    const { high } = rangeOf(normal, 'mse', 'e2m1');
    expect(high).toBeGreaterThan(2);
    expect(high).toBeLessThan(Math.max(...normal));
  });
});

describe('the error on a grid', () => {
  it('is that of a fine sampling', () => {
    const grid = fc.record({
      step: fc.double({ min: 0.05, max: 2, noNaN: true }),
      below: fc.integer({ min: 0, max: 8 }),
      above: fc.integer({ min: 1, max: 8 }),
    });
    const ends = fc.tuple(
      fc.double({ min: -4, max: 4, noNaN: true }),
      fc.double({ min: 0.01, max: 3, noNaN: true }),
    );
    fc.assert(
      fc.property(grid, ends, ({ step, below, above }, [from, width]) => {
        const segment = { low: from, high: from + width, count: 1 };
        const distribution = { segments: [segment], count: 1, min: segment.low, max: segment.high };
        const [low, high] = [-below * step, above * step];
        const points = 20_000;
        let sum = 0;
        for (let i = 0; i < points; i++) {
          const x = from + ((i + 0.5) * width) / points;
          const rounded = step * Math.min(Math.max(Math.round(x / step), -below), above);
          sum += (x - rounded) ** 2;
        }
        const expected = sum / points;
        const actual = gridError(distribution, { step, low, high });
        expect(Math.abs(actual - expected)).toBeLessThan(1e-6 + 1e-4 * expected);
      }),
      { numRuns: 40 },
    );
  });
});

describe('entropy', () => {
  it('is not min–max: outliers do not move it much', () => {
    const clean = rangeOf(normal, 'entropy', 'int8-narrow').high;
    const dirty = rangeOf(withOutliers, 'entropy', 'int8-narrow').high;
    expect(Math.max(...withOutliers)).toBeGreaterThan(15);
    expect(dirty).toBeLessThan(6.5);
    expect(dirty).toBeGreaterThan(3);
    expect(Math.abs(dirty - clean)).toBeLessThan(1);
  });

  it('does not let the zeros of a ReLU pull the threshold down', () => {
    const positive = normal.map(Math.abs);
    const relu = normal.map((x) => Math.max(x, 0));
    const mostlyZero = Float64Array.from([...positive, ...new Float64Array(10 * COUNT)]);
    const expected = rangeOf(positive, 'entropy', 'uint8').high;
    expect(expected).toBeGreaterThan(4);
    expect(rangeOf(mostlyZero, 'entropy', 'uint8').high).toBe(expected);
    expectNear(rangeOf(relu, 'entropy', 'uint8').high, expected, 0.1);
  });

  it('keeps uniform data whole', () => {
    expectNear(rangeOf(draw(COUNT, uniform), 'entropy', 'int8-narrow').high, 1, 0.02);
  });
});

describe('percentile', () => {
  it('cuts both tails alike', () => {
    const { low, high } = rangeOf(normal, 'percentile', 'uint8', 99);
    // 0.5 % and 99.5 % of a normal distribution.
    expectNear(high, 2.576, 0.03);
    expectNear(low, -2.576, 0.03);
  });

  it('of magnitudes, when symmetric', () => {
    const shifted = normal.map((x) => x + 3);
    // |x| is x here: 99 % of N(3, 1).
    expectNear(rangeOf(shifted, 'percentile', 'int8-narrow', 99).high, 3 + 2.326, 0.03);
  });

  it('is min–max at 100, and 99.99 by default', () => {
    expect(rangeOf(normal, 'percentile', 'uint8', 100)).toMatchObject({
      low: Math.fround(Math.min(...normal)),
      high: Math.fround(Math.max(...normal)),
    });
    expect(rangeOf(normal, 'percentile', 'uint8')).toEqual(rangeOf(normal, 'percentile', 'uint8', 99.99));
  });
});

describe('moving-average', () => {
  it('is the mean of the samples’ extremes, to the width of a bin', () => {
    const sketch = sketchOf([
      [-1, 4],
      [-3, 8],
      [-2, 6],
    ]);
    const range = chooseRange(
      sketch,
      { method: 'moving-average' },
      { format: parseFormat('uint8'), symmetric: false },
    );
    expectNear(range.low, -2, 1 / 32);
    expectNear(range.high, 6, 1 / 32);
  });
});

describe('power-of-two', () => {
  it.each(['uint8', 'int8', 'int8-narrow', 'int4-narrow', 'uint4', 'int16', 'e4m3'])(
    'has such a scale: %s',
    (name) => {
      const format = parseFormat(name);
      const symmetric = !format.affine || format.low === -format.high;
      const range = rangeOf(
        normal.map((x) => x + 0.5),
        'power-of-two',
        name,
      );
      const { scale } = parametersForRange(format, range, { symmetric });
      expect(Number.isInteger(Math.log2(scale))).toBe(true);
    },
  );

  it('clips at few bits, not at many', () => {
    expect(rangeOf(normal, 'power-of-two', 'int3-narrow').high).toBeLessThan(3);
    expect(rangeOf(normal, 'power-of-two', 'int16').high).toBeGreaterThan(3.9);
  });
});

describe('every method', () => {
  const format = parseFormat('uint8');
  const target = { format, symmetric: false };
  const constant = (value: number): ReturnType<typeof sketchOf> =>
    sketchOf([new Float64Array(50).fill(value)]);

  it.each(RANGE_METHODS)('%s: zero is in the range, and representable exactly', (method) => {
    for (const values of [normal.map((x) => x + 20), normal.map((x) => x - 20), normal]) {
      const range = chooseRange(sketchOf([values]), { method }, target);
      expect(range.low <= 0 && range.high >= 0).toBe(true);
      const { scale, zeroPoint } = parametersForRange(format, range, { symmetric: false });
      expect(Number.isInteger(zeroPoint) && zeroPoint >= 0 && zeroPoint <= 255).toBe(true);
      expect(Math.fround(scale)).toBe(scale);
    }
  });

  it.each(RANGE_METHODS)('%s: zeros only give a usable scale', (method) => {
    const range = chooseRange(constant(0), { method }, target);
    expect(range).toEqual({ low: 0, high: 0, method });
    expect(parametersForRange(format, range, { symmetric: false })).toEqual({ scale: 1, zeroPoint: 0 });
  });

  it.each(RANGE_METHODS)('%s: the tiniest and the largest numbers give a normal scale', (method) => {
    for (const value of [1e-44, 1e-38, 1e30]) {
      const range = chooseRange(constant(value), { method }, target);
      const { scale } = parametersForRange(format, range, { symmetric: false });
      expect(scale).toBeGreaterThanOrEqual(2 ** -126);
      expect(Number.isFinite(scale)).toBe(true);
    }
  });

  it.each(RANGE_METHODS)('%s: a value never seen is refused by name', (method) => {
    expect(() => chooseRange(emptySketch('idle'), { method }, target)).toThrow(
      /'idle' had no finite element/,
    );
  });

  it.each(RANGE_METHODS)('%s: infinities are left out', (method) => {
    const range = chooseRange(sketchOf([[...normal.slice(0, 100), -Infinity, NaN]]), { method }, target);
    expect(range.low).toBeGreaterThan(-5);
    expect(Number.isFinite(range.high)).toBe(true);
  });

  it.each(RANGE_METHODS)('%s: symmetric grids get symmetric ranges', (method) => {
    const { low, high } = rangeOf(
      normal.map((x) => x + 1),
      method,
      'int8-narrow',
    );
    expect(low).toBe(-high);
  });
});

describe('a distribution', () => {
  const distribution = distributionOf(sketchOf([normal]));

  it('has quantiles that rise from the smallest to the largest element', () => {
    const shares = [0, 0.01, 0.5, 0.99, 1];
    const values = shares.map((share) => quantile(distribution, share));
    expect(values).toEqual([...values].sort((a, b) => a - b));
    expect([values[0], values[4]]).toEqual([distribution.min, distribution.max]);
    expect(Math.abs(values[2]!)).toBeLessThan(0.02);
  });

  it('tells the share outside a range', () => {
    expect(shareOutside(distribution, -Infinity, Infinity)).toBe(0);
    expectNear(shareOutside(distribution, -1, 1), 0.3173, 0.03);
  });
});
