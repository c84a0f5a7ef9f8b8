/** K-means of real numbers: the exact optimum, and what is done where there are many. */
import { describe, expect, it } from 'vitest';
import { createRng } from '../../src/core/index.js';
import { kMeans } from '../../src/formats/index.js';

/** Σ weight · (value − nearest centre)². */
function errorAt(values: ArrayLike<number>, weights: ArrayLike<number>, centres: ArrayLike<number>): number {
  return Array.from(values, (v, i) => {
    const least = Math.min(...Array.from(centres, (c) => (v - c) ** 2));
    return (weights[i] ?? 1) * least;
  }).reduce((a, b) => a + b, 0);
}

/** Every way to cut n sorted numbers into k runs that are not empty. */
function* cuts(n: number, k: number, from = 0): Generator<number[]> {
  if (k === 1) {
    yield [n];
    return;
  }
  for (let to = from + 1; to <= n - k + 1; to++) for (const rest of cuts(n, k - 1, to)) yield [to, ...rest];
}

function exhaustive(values: readonly number[], weights: readonly number[], k: number): number {
  const order = values.map((_, i) => i).sort((a, b) => (values[a] ?? 0) - (values[b] ?? 0));
  let least = Infinity;
  for (const ends of cuts(values.length, k)) {
    const centres = ends.map((to, run) => {
      const own = order.slice(run === 0 ? 0 : ends[run - 1], to);
      const total = own.reduce((sum, i) => sum + (weights[i] ?? 0), 0);
      return own.reduce((sum, i) => sum + (weights[i] ?? 0) * (values[i] ?? 0), 0) / total;
    });
    least = Math.min(least, errorAt(values, weights, centres));
  }
  return least;
}

const rng = createRng(3);
const draw = (n: number, f: () => number): number[] => Array.from({ length: n }, f);

describe('kMeans', () => {
  it.each([2, 3, 4, 6])('finds the optimum of an exhaustive search, k = %i', (k) => {
    for (let trial = 0; trial < 20; trial++) {
      const values = draw(12, () => rng.normal());
      const weights = draw(12, () => 0.1 + rng.uniform());
      const found = errorAt(values, weights, kMeans(values, weights, k));
      expect(found).toBeCloseTo(exhaustive(values, weights, k), 12);
    }
  });

  it('is no worse than Lloyd from many starts', () => {
    const values = draw(400, () => rng.normal() ** 3);
    const ones = values.map(() => 1);
    const exact = errorAt(values, ones, kMeans(values, undefined, 8));
    for (let start = 0; start < 20; start++) {
      let centres = draw(8, () => values[Math.floor(rng.uniform() * values.length)] ?? 0);
      for (let round = 0; round < 50; round++) {
        const nearest = values.map((v) =>
          centres.reduce(
            (best, c, j) => (Math.abs(v - c) < Math.abs(v - (centres[best] ?? 0)) ? j : best),
            0,
          ),
        );
        centres = centres.map((c, j) => {
          const own = values.filter((_, i) => nearest[i] === j);
          return own.length === 0 ? c : own.reduce((a, b) => a + b, 0) / own.length;
        });
      }
      expect(exact).toBeLessThanOrEqual(errorAt(values, ones, centres) * (1 + 1e-9));
    }
  });

  it('comes within a thousandth of the known optimum of many Gaussian numbers', () => {
    const values = Float64Array.from({ length: 60_000 }, () => rng.normal());
    const energy = values.reduce((sum, v) => sum + v * v, 0);
    // Max (1960): least squared errors of Gaussian quantizers with 4, 8 and 16 levels.
    for (const [k, expected] of [
      [4, 0.1175],
      [8, 0.03454],
      [16, 0.009497],
    ] as const) {
      const error = errorAt(values, [], kMeans(values, undefined, k)) / energy;
      expect(Math.abs(error / expected - 1)).toBeLessThan(0.02);
    }
  });

  it('gives each number its own centre where there are few', () => {
    expect([...kMeans([3, 1, 1, 3, 2], undefined, 4)]).toEqual([1, 2, 3]);
    expect([...kMeans([], undefined, 4)]).toEqual([]);
    expect([...kMeans([0, 0, 0], undefined, 4)]).toEqual([0]);
  });

  it('leaves out what has no weight and what is no number', () => {
    expect([...kMeans([1, 2, 50, NaN, Infinity], [1, 1, 0, 1, 1], 2)]).toEqual([1, 2]);
  });

  it('moves centres to heavy numbers', () => {
    const values = [0, 1, 10, 11];
    expect([...kMeans(values, [1, 1, 1, 1], 2)]).toEqual([0.5, 10.5]);
    expect(kMeans(values, [1, 1, 1, 3], 2)[1]).toBeCloseTo(10.75, 12);
  });
});
