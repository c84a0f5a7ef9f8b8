/** The three ways to a binary point. */
import { describe, expect, it } from 'vitest';
import { createRng } from '../../src/core/index.js';
import { binaryPointSlope, chooseBinaryPoint, fixedPoint } from '../../src/formats/index.js';

const rng = createRng(5);
const tensors = Array.from({ length: 30 }, (_, i) => {
  const spread = 2 ** ((i % 10) / 3);
  return Float64Array.from({ length: 1000 }, () => spread * Math.log(1 - rng.uniform()) * rng.normal());
});

describe('chooseBinaryPoint', () => {
  it.each([4, 6, 8])(
    'the gradient finds what the search finds on at least 95 % of tensors, W = %i',
    (bits) => {
      const format = fixedPoint({ bits });
      const same = tensors.filter((values) => {
        const [learned, searched] = (['gradient', 'search'] as const).map((method) =>
          chooseBinaryPoint(format, { values }, method),
        );
        return learned === searched;
      });
      expect(same.length / tensors.length).toBeGreaterThanOrEqual(0.95);
    },
  );

  it('has more fractional bits than min-max at 4 bits', () => {
    const format = fixedPoint({ bits: 4 });
    const gained = tensors.map(
      (values) =>
        chooseBinaryPoint(format, { values }, 'search') - chooseBinaryPoint(format, { values }, 'range'),
    );
    expect(gained.reduce((a, b) => a + b) / gained.length).toBeGreaterThan(0.9);
  });

  it('avoids overflow by range', () => {
    expect(chooseBinaryPoint(fixedPoint({ bits: 8 }), { values: [0.3, -0.9] }, 'range')).toBe(7);
    expect(chooseBinaryPoint(fixedPoint({ bits: 8 }), { values: [0.3, -1.1] }, 'range')).toBe(6);
  });
});

describe('binaryPointSlope', () => {
  // With rounding replaced by the identity plus a fixed offset r (the straight-through reading), x_q = (x·2^f + r)·2^−f.
  it('is the derivative of the straight-through surrogate inside the range', () => {
    const word = { low: -8, high: 7 };
    const f = 2;
    const x = 0.83;
    const offset = Math.round(x * 2 ** f) - x * 2 ** f;
    const surrogate = (g: number): number => (x * 2 ** g + offset) / 2 ** g;
    const numeric = (surrogate(f + 1e-6) - surrogate(f - 1e-6)) / 2e-6;
    expect(binaryPointSlope(word, x, surrogate(f), 2 ** -f)).toBeCloseTo(numeric, 6);
  });

  it('is the derivative of the clipped value outside', () => {
    const clipped = (g: number): number => 7 / 2 ** g;
    const numeric = (clipped(2 + 1e-6) - clipped(2 - 1e-6)) / 2e-6;
    expect(binaryPointSlope({ low: -8, high: 7 }, 100, clipped(2), 0.25)).toBeCloseTo(numeric, 6);
  });
});
