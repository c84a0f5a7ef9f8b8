/** Binary and ternary weights: closed-form scales against the theory of Gaussian data and against every other scale. */
import { describe, expect, it } from 'vitest';
import { createRng } from '../../src/core/index.js';
import { fitParameters, meanSquaredError, parseFormat } from '../../src/formats/index.js';

const rng = createRng(3);
const gaussian = Float64Array.from({ length: 2 ** 14 }, () => rng.normal());
const fit = (name: string, values: ArrayLike<number>): { scale: number; error: number } => {
  const format = parseFormat(name);
  const parameters = fitParameters(format, { values }, { method: 'range', symmetric: true });
  return { scale: parameters.scale, error: meanSquaredError(format, { values }, parameters) };
};

describe('on Gaussian data', () => {
  it('binary keeps 2/π of the energy, at the mean magnitude', () => {
    const { scale, error } = fit('binary', gaussian);
    expect(scale).toBeCloseTo(Math.sqrt(2 / Math.PI), 1);
    expect(error).toBeCloseTo(1 - 2 / Math.PI, 1);
  });

  it('ternary reaches the optimal three levels (Max, 1960): 1.224, distortion 0.190', () => {
    const { scale, error } = fit('ternary', gaussian);
    expect(Math.abs(scale - 1.224)).toBeLessThan(0.03);
    expect(Math.abs(error - 0.19)).toBeLessThan(0.005);
  });
});

it.each(['binary', 'ternary'])('%s: no other scale is better', (name) => {
  const values = gaussian.slice(0, 60);
  const format = parseFormat(name);
  const { error } = fit(name, values);
  for (let scale = 0.05; scale < 4; scale += 0.01)
    expect(meanSquaredError(format, { values }, { scale, zeroPoint: 0 })).toBeGreaterThanOrEqual(
      error - 1e-9,
    );
});

it('ternary loses nothing of weights that are ternary, binary nothing of signs', () => {
  expect(fit('ternary', [0.3, 0, -0.3, 0, 0.3]).error).toBeLessThan(1e-12);
  expect(fit('binary', [0.3, -0.3]).error).toBeLessThan(1e-12);
  expect(fit('binary', [0.3, 0, -0.3]).error).toBeGreaterThan(0.01);
});
