import { describe, expect, test } from 'vitest';
import { descend } from '../../../src/solve/descent.js';
import { gptqCodes } from '../../../src/solve/gptq.js';
import {
  dequantize,
  type LayerProblem,
  type Moments,
  type QuantizedMatrix,
} from '../../../src/solve/problem.js';
import { relativeErrors } from '../../../src/solve/measure.js';
import { floatTarget, quadraticOf } from '../../../src/solve/quadratic.js';
import { fitScales, nearestCodes } from '../../../src/solve/scales.js';
import {
  jointSparse,
  magnitudeMask,
  parsePattern,
  patternColumns,
  pruneByExchange,
  sparseGpt,
  startMask,
  wandaMask,
  type MaskStart,
} from '../../../src/solve/sparsity/index.js';
import { toyLayer } from './toy-layer.js';

const two4 = parsePattern('2:4');
const plain = patternColumns({ in: 64, kernel: 1 });
const seeds = [1, 2, 3];

async function errorOn(problem: LayerProblem, moments: Moments, values: Float64Array): Promise<number> {
  const [error] = await relativeErrors(problem, moments, [{ values }]);
  return error!;
}

const heldOut = (problem: LayerProblem, values: Float64Array): Promise<number> =>
  errorOn(problem, problem.heldOut!, values);

function countViolations(codes: ArrayLike<number>, rows: number, columns: Int32Array, text: string): number {
  const { n, m } = parsePattern(text);
  let violations = 0;
  for (let r = 0; r < rows; r++)
    for (let from = 0; from < columns.length; from += m) {
      const used = columns.subarray(from, from + m).filter((c) => codes[r * columns.length + c] !== 0);
      if (used.length > n) violations++;
    }
  return violations;
}

describe('masks', () => {
  test('Wanda equals magnitude when all inputs have equal energy, and only then', () => {
    const problem = toyLayer(1, { outliers: 6 });
    const equal = problem.moments.gram[0]!.slice();
    for (let c = 0; c < 64; c++) equal[c * 65] = 2;
    const flat = { ...problem, moments: { ...problem.moments, gram: [equal] } };
    expect(wandaMask(flat, plain, two4)).toEqual(magnitudeMask(problem, plain, two4));
    expect(wandaMask(problem, plain, two4)).not.toEqual(magnitudeMask(problem, plain, two4));
  });

  test.each(seeds)(
    'SparseGPT beats Wanda, and Wanda beats magnitude where inputs differ (seed %i)',
    async (seed) => {
      const problem = toyLayer(seed, { outliers: 6 });
      const quadratic = quadraticOf(problem, 0.01);
      const errorOf = (start: MaskStart): Promise<number> =>
        heldOut(problem, startMask(start, problem, quadratic, plain, two4).weight);
      const magnitude = await errorOf('magnitude');
      const wanda = await errorOf('wanda');
      const gpt = await errorOf('sparsegpt');
      expect(wanda).toBeLessThan(0.9 * magnitude);
      expect(gpt).toBeLessThan(0.6 * wanda);
    },
  );

  test('SparseGPT equals magnitude for white inputs: there is nothing to make up with', () => {
    const problem = toyLayer(1);
    const identity = new Float64Array(64 * 64);
    for (let c = 0; c < 64; c++) identity[c * 65] = 1;
    const moments = { ...problem.moments, gram: [identity] };
    const white = { ...problem, moments: { ...moments, target: floatTarget(problem, moments) } };
    const { mask, weight } = sparseGpt(white, quadraticOf(white, 0), plain, two4);
    expect(mask).toEqual(magnitudeMask(problem, plain, two4));
    expect(weight).toBeAllclose(
      problem.weight.map((w, i) => w * mask[i]!),
      { atol: 1e-12, rtol: 1e-6 },
    );
  });

  test.each(seeds)(
    'exchanges improve every mask, and end where no single exchange helps (seed %i)',
    async (seed) => {
      const problem = toyLayer(seed);
      const quadratic = quadraticOf(problem, 0.001);
      for (const start of ['magnitude', 'wanda', 'sparsegpt'] as const) {
        const given = startMask(start, problem, quadratic, plain, two4);
        const refitted = pruneByExchange(problem, quadratic, plain, two4, given, 50, false);
        const exchanged = pruneByExchange(problem, quadratic, plain, two4, given, 50);
        expect(refitted.mask).toEqual(given.mask);
        const refittedError = await heldOut(problem, refitted.weight);
        expect(refittedError).toBeLessThan(await heldOut(problem, given.weight));
        expect(await heldOut(problem, exchanged.weight)).toBeLessThan(refittedError);
        const again = pruneByExchange(problem, quadratic, plain, two4, exchanged, 1);
        expect(again.mask).toEqual(exchanged.mask);
      }
    },
  );
});

describe('jointSparse', () => {
  /** Prunes, then rounds what is left: by GPTQ as usual, and by this project's own strongest solver. */
  async function inTwoSteps(
    problem: LayerProblem,
    start: MaskStart,
  ): Promise<{ gptq: number; descent: number }> {
    const pruned = startMask(start, problem, quadraticOf(problem, 0.01), plain, two4);
    const sparse = { ...problem, mask: pruned.mask, weight: Float32Array.from(pruned.weight) };
    const quadratic = quadraticOf(problem, 0.001);
    const scales = fitScales(sparse, 'mse', quadratic);
    const own = { ...sparse, moments: { ...problem.moments, target: floatTarget(sparse, problem.moments) } };
    const codes = gptqCodes(sparse, quadratic, scales);
    const error = (q: QuantizedMatrix): Promise<number> => heldOut(problem, dequantize(sparse, q));
    return {
      gptq: await error(gptqCodes(own, quadraticOf(own, 0.01), scales)),
      descent: await error(descend(sparse, quadratic, codes, { refits: 20 })),
    };
  }

  test.each(seeds)('beats pruning and then quantizing at 4 bits on held-out data (seed %i)', async (seed) => {
    const problem = toyLayer(seed);
    const joint = await jointSparse(problem, plain, two4);
    for (const start of ['magnitude', 'wanda', 'sparsegpt'] as const) {
      const { gptq, descent } = await inTwoSteps(problem, start);
      expect(joint.error.heldOut!).toBeLessThan(0.8 * gptq);
      expect(joint.error.heldOut!).toBeLessThan(0.96 * descent);
    }
  });

  test.each(['2:4', '4:8', '1:4', '4:8/2'])(
    'keeps %s with kernels, free bias and one scale a tensor',
    async (text) => {
      const problem = toyLayer(5, { cols: 144, rows: 8, freeBias: true, granularity: 'tensor' });
      const columns = patternColumns({ in: 16, kernel: 9 });
      const pattern = parsePattern(text);
      const { codes, mask, zeroPoint, error } = await jointSparse(problem, columns, pattern);
      expect(countViolations(codes, 8, columns, text)).toBe(0);
      // The wrong order, adjacent elements of OIHW, does not hold by chance.
      expect(countViolations(codes, 8, plainOrder(144), text)).toBeGreaterThan(0);
      expect(Array.from(zeroPoint)).toEqual([0]);
      expect(codes.every((q, i) => mask[i] === 1 || q === 0)).toBe(true);
      expect(error.fit).toBeLessThan(error.nearest);
    },
  );

  test('never ends worse than its starts, and is the same every time', async () => {
    const problem = toyLayer(7, { rows: 8 });
    const quadratic = quadraticOf(problem, 0.001);
    const joint = await jointSparse(problem, plain, two4);
    const { mask, weight } = sparseGpt(problem, quadratic, plain, two4);
    const sparse = { ...problem, mask, weight: Float32Array.from(weight) };
    const start = dequantize(sparse, nearestCodes(sparse, fitScales(sparse, 'mse', quadratic)));
    expect(joint.error.fit).toBeLessThan(await errorOn(problem, problem.moments, start));
    expect(await jointSparse(problem, plain, two4)).toEqual(joint);
  });
});

function plainOrder(cols: number): Int32Array {
  return Int32Array.from({ length: cols }, (_, c) => c);
}
