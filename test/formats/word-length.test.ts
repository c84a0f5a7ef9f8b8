/** AdaPT's word lengths and cost model. */
import { describe, expect, it } from 'vitest';
import { createRng } from '../../src/core/index.js';
import { informationWordLength, predictCost } from '../../src/formats/index.js';

const rng = createRng(1);
const weights = Float64Array.from({ length: 65536 }, () => 0.1 * rng.normal());
const RESOLUTIONS = [50, 100, 150];

describe('informationWordLength', () => {
  it.each([
    [1e-2, [8, 9, 9]],
    [1e-3, [10, 11, 11]],
  ])('finds F of a Gaussian, ε = %d', (epsilon, expected) => {
    const found = RESOLUTIONS.map((resolution) =>
      informationWordLength({ values: weights }, { resolution, epsilon }),
    );
    expect(found.map((word) => word.fraction)).toEqual(expected);
    for (const { divergence } of found) expect(divergence).toBeLessThanOrEqual(epsilon);
  });

  it('grows with 1/ε', () => {
    const fractions = [1e-1, 1e-2, 1e-3, 1e-4].map(
      (epsilon) => informationWordLength({ values: weights }, { resolution: 100, epsilon }).fraction,
    );
    expect(fractions).toEqual([...fractions].sort((a, b) => a - b));
    expect(fractions[3]).toBeGreaterThan(fractions[0]!);
  });

  it.each([-4, -1, 1, 3])('raises F by exactly k when weights shrink by 2^k, k = %i', (k) => {
    const scaled = { values: weights.map((w) => w * 2 ** -k) };
    const options = { resolution: 100, epsilon: 1e-2 };
    const [before, after] = [{ values: weights }, scaled].map((s) => informationWordLength(s, options));
    expect(after!.fraction).toBe(before!.fraction + k);
    expect(after!.bits).toBe(before!.bits);
    expect(after!.divergence).toBe(before!.divergence);
  });

  it('holds the range with W bits, but for saturation that does not show', () => {
    const { bits, fraction } = informationWordLength({ values: weights });
    const largest = weights.reduce((m, w) => Math.max(m, Math.abs(w)), 0);
    expect(2 ** (bits - 1 - fraction) * 4).toBeGreaterThan(largest);
  });

  it('reads histograms as it reads arrays', () => {
    const values = [-0.5, -0.25, 0, 0.125, 0.5];
    const counts = [10, 20, 40, 20, 10];
    const repeated = values.flatMap((v, i) => new Array<number>(counts[i]!).fill(v));
    expect(informationWordLength({ values, counts })).toEqual(informationWordLength({ values: repeated }));
  });

  it('cuts a word that would be too wide, and says what that does to the divergence', () => {
    const options = { resolution: 100, epsilon: 1e-3 };
    const whole = informationWordLength({ values: weights }, options);
    const cut = informationWordLength({ values: weights }, options, true, whole.bits - 3);
    expect(cut).toMatchObject({ bits: whole.bits - 3, fraction: whole.fraction - 3 });
    expect(cut.divergence).toBeGreaterThan(1e-3);
    expect(informationWordLength({ values: weights }, options, true, whole.bits)).toEqual(whole);
  });

  it('gives a constant-zero tensor the shortest word', () => {
    expect(informationWordLength({ values: new Float32Array(8) })).toEqual({
      bits: 2,
      fraction: 0,
      divergence: 0,
    });
  });
});

describe('predictCost', () => {
  it('weighs operations by word length and density', () => {
    const cost = predictCost([
      { macs: 1000, bits: 8, sparsity: 0 },
      { macs: 3000, bits: 4, sparsity: 0.5 },
    ]);
    expect(cost.bitOperations).toBe(8000 + 6000);
    expect(cost.speedup).toBeCloseTo((32 * 4000) / 14000);
    expect(cost.sizeRatio).toBeCloseTo((0.75 * 12) / 64);
  });

  it('predicts nothing for float layers', () => {
    expect(predictCost([{ macs: 5, bits: 32, sparsity: 0 }])).toMatchObject({ speedup: 1, sizeRatio: 1 });
  });
});
