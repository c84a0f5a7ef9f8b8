/** Rounding that can be learned. */
import { describe, expect, it } from 'vitest';
import { createRng } from '../../src/core/index.js';
import {
  clipStraightThrough,
  createProgram,
  fakeQuantize,
  gradients,
  learnedStepQuantize,
  loop,
  roundingPenalty,
  roundStraightThrough,
  runProgram,
  softRounding,
  softRoundingInverse,
  stopGradient,
  type Program,
  type Value,
} from '../../src/program/index.js';
import { tensor } from '../../src/tensor/index.js';
import { expectGradient } from './expect-gradient.js';

/** Value and gradient of a function of one vector, summed. */
async function evaluate(x: readonly number[], f: (p: Program, x: Value) => Value) {
  const p = createProgram();
  const v = p.vector(x);
  const y = f(p, v);
  const { value, slope } = await runProgram(p, { value: y, slope: gradients(p, p.reduceSum(y), v) });
  return { value: Array.from(value.data as Float32Array), slope: Array.from(slope.data as Float32Array) };
}

describe('straight-through estimators', () => {
  it('round with derivative one, ties to even', async () => {
    expect(await evaluate([0.4, 0.5, 1.5, -2.6], (p, x) => roundStraightThrough(p, x))).toEqual({
      value: [0, 0, 2, -3],
      slope: [1, 1, 1, 1],
    });
  });
  it('plain rounding has derivative zero', async () => {
    expect((await evaluate([0.4, 1.6], (p, x) => p.round(x))).slope).toEqual([0, 0]);
  });
  it('clip with derivative one outside, where plain clip has zero', async () => {
    expect((await evaluate([-3, 0, 3], (p, x) => clipStraightThrough(p, x, -1, 1))).slope).toEqual([1, 1, 1]);
    expect((await evaluate([-3, 0, 3], (p, x) => p.clip(x, -1, 1))).slope).toEqual([0, 1, 0]);
  });
  it('stopped gradients do not flow', async () => {
    expect((await evaluate([2, 3], (p, x) => p.mul(x, stopGradient(p, x)))).slope).toEqual([2, 3]);
  });
});

describe('soft rounding', () => {
  it('has the derivative of the rectified sigmoid', () =>
    expectGradient((p, v) => softRounding(p, v), [[3, 4]], {
      draw: (rng, n) => Array.from({ length: n }, () => 1.5 * rng.uniform() - 0.75),
    }));
  it('reaches 0 and 1 at finite values', async () => {
    expect((await evaluate([-5, 0, 5], softRounding)).value).toEqual([0, 0.5, 1]);
  });
  it('is inverted', async () => {
    const shares = [0.01, 0.3, 0.5, 0.99];
    const { value } = await evaluate(shares, (p, h) => softRounding(p, softRoundingInverse(p, h)));
    expect(value).toBeAllclose(shares, { atol: 1e-6, rtol: 0 });
  });
  it('penalty is Σ 1 − |2h − 1|^β, and differentiable at 1/2', async () => {
    const { value, slope } = await evaluate([0, 0.25, 0.5, 1], (p, h) => roundingPenalty(p, h, 3));
    expect(value[0]).toBeCloseTo(0 + (1 - 0.125) + 1 + 0, 6);
    expect(slope).toBeAllclose([6, 1.5, 0, -6], { atol: 1e-6, rtol: 0 });
  });
});

describe('learned step size', () => {
  const grid = { low: -4, high: 3 };
  const x = [-3, -0.9, 0.15, 0.6, 2.2];
  it('has LSQ gradients: round(v) − v inside the grid, the bound outside, and the mask for x', async () => {
    const p = createProgram();
    const [v, s] = [p.vector(x), p.scalar(0.5)];
    const y = fakeQuantize(p, v, s, grid);
    const result = await runProgram(p, { y, slopes: gradients(p, p.reduceSum(y), { v, s }) });
    expect(Array.from(result.y.data as Float32Array)).toEqual([-2, -1, 0, 0.5, 1.5]);
    expect(Array.from(result.slopes.v.data as Float32Array)).toEqual([0, 1, 1, 1, 0]);
    const inside = [-0.9, 0.15, 0.6].map((w) => Math.round(w / 0.5) - w / 0.5);
    expect((result.slopes.s.data as Float32Array)[0]).toBeCloseTo(-4 + 3 + inside.reduce((a, b) => a + b), 5);
  });
  it('takes zero points and scales per channel', async () => {
    const p = createProgram();
    const v = p.constant(tensor('float32', [2, 2], [0.1, 0.9, 2, -9]));
    const s = p.constant(tensor('float32', [2, 1], [0.25, 1]));
    const z = p.constant(tensor('float32', [2, 1], [0, 3]));
    const y = fakeQuantize(p, v, s, { low: 0, high: 3, zeroPoint: z });
    const result = await runProgram(p, { y, slope: gradients(p, p.reduceSum(y), s) });
    expect(Array.from(result.y.data as Float32Array)).toEqual([0, 0.75, 0, -3]);
    expect(result.slope.dims).toEqual([2, 1]);
  });
  it('finds the step of least squared error of a Gaussian', async () => {
    const rng = createRng(5);
    const sample = tensor(
      'float32',
      [4096],
      Float32Array.from({ length: 4096 }, () => rng.normal()),
    );
    const error = (p: Program, s: Value) =>
      p.reduceMean(p.square(p.sub(fakeQuantize(p, p.constant(sample), s, grid), p.constant(sample))));
    const p = createProgram();
    const { state } = loop(p, p.scalar(0.2), 400, (b, s) => {
      const y = learnedStepQuantize(b, b.constant(sample), s, grid);
      const loss = b.reduceSum(b.square(b.sub(y, b.constant(sample))));
      return { state: b.sub(s, b.mul(gradients(b, loss, s), 1e-3)) };
    });
    const scan = Array.from({ length: 61 }, (_, i) => 0.3 + 0.01 * i);
    const { found, errors } = await runProgram(p, {
      found: state,
      errors: scan.map((s) => error(p, p.scalar(s))),
    });
    const least =
      scan[
        errors
          .map((e) => (e.data as Float32Array)[0] ?? 0)
          .reduce((best, e, i, all) => (e < (all[best] ?? 0) ? i : best), 0)
      ] ?? 0;
    expect((found.data as Float32Array)[0]).toBeGreaterThan(least - 0.03);
    expect((found.data as Float32Array)[0]).toBeLessThan(least + 0.03);
  });
});
