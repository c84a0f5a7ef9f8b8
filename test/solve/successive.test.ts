/** Blocked factors and successive rounding against plain arithmetic and against GPTQ column by column. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createRng } from '../../src/core/index.js';
import { gptqCodes } from '../../src/solve/gptq.js';
import { cholesky } from '../../src/solve/linear-algebra.js';
import { openMatrices, plainMatrices, type Matrices } from '../../src/solve/matrices.js';
import { quadraticOf } from '../../src/solve/quadratic.js';
import { fitScales } from '../../src/solve/scales.js';
import { factorizeGroups, successiveCodes } from '../../src/solve/successive.js';
import { factorize, solveTransposed } from '../../src/solve/triangular.js';
import { toyLayer } from './sparsity/toy-layer.js';

let runtime: Matrices & { release(): Promise<void> };
beforeAll(async () => {
  runtime = await openMatrices(1);
});
afterAll(() => runtime.release());

const identity = (n: number): Int32Array => Int32Array.from({ length: n }, (_, i) => i);

describe('factorize', () => {
  // Around one block, several, and the size from which blocks are used.
  it.each([8, 32, 96, 132, 200])('gives the float64 factor of %i columns', async (n) => {
    const problem = toyLayer(1, { cols: n, rows: 1, samples: 2 * n });
    const [h] = quadraticOf(problem, 0.01).gram as [Float64Array];
    const { upper } = await factorize(h, identity(n), runtime);
    const lower = cholesky(h, n);
    const largest = Math.max(...lower);
    const off = upper.map((u, i) => Math.abs(u - (lower[(i % n) * n + Math.floor(i / n)] ?? 0)));
    expect(Math.max(...off)).toBeLessThan(1e-4 * largest);
  });

  it('solves with the transposed factor', async () => {
    const n = 152;
    const problem = toyLayer(2, { cols: n, rows: 1 });
    const [h] = quadraticOf(problem, 0.01).gram as [Float64Array];
    const factor = await factorize(h, identity(n), runtime);
    const rng = createRng(3);
    const v = Float32Array.from({ length: 2 * n }, () => rng.normal());
    const s = await runtime.times(v, factor.upper, 2, n, n);
    const found = await solveTransposed(factor, s, 2, runtime);
    found.forEach((x, i) => expect(x).toBeCloseTo(v[i] ?? NaN, 2));
  });
});

describe('successiveCodes', () => {
  it.each([
    ['a layer that sees its float inputs', undefined],
    ['a layer that sees others', 0.05],
  ])('rounds as GPTQ does, column by column: %s', async (_, slope) => {
    for (const seed of [1, 2, 3]) {
      const problem = toyLayer(seed, { cols: 132, rows: 8, samples: 600, bits: 3 });
      const plain = quadraticOf(problem, 0.01);
      const rng = createRng(seed);
      const quadratic =
        slope === undefined
          ? plain
          : { ...plain, slope: Float64Array.from(problem.weight, () => slope * rng.normal()) };
      const parameters = fitScales(problem, 'mse');
      const expected = gptqCodes(problem, quadratic, parameters).codes;
      const factors = await factorizeGroups(quadratic, problem.cols, true, plainMatrices);
      const { codes } = await successiveCodes(problem, quadratic, parameters, factors, plainMatrices);
      // A tie that float32 decides otherwise changes the codes after it in that row.
      expect(codes.filter((code, i) => code !== expected[i]).length).toBeLessThan(0.02 * codes.length);
    }
  });

  it('gives the same codes in loops and in the runtime, for one and two threads', async () => {
    const problem = toyLayer(4, { cols: 160, rows: 48, bits: 3 });
    const quadratic = quadraticOf(problem, 0.01);
    const parameters = fitScales(problem, 'mse');
    const solve = async (matrices: Matrices): Promise<Int32Array> => {
      const factors = await factorizeGroups(quadratic, problem.cols, true, matrices);
      return (await successiveCodes(problem, quadratic, parameters, factors, matrices)).codes;
    };
    const two = await openMatrices(2);
    const [a, b] = [await solve(runtime), await solve(two)];
    await two.release();
    expect(b).toEqual(a);
  });
});
