/** Every solver on the synthetic layer of the methods notes: orderings, negative controls, exact optima. */
import { describe, expect, it } from 'vitest';
import { createRng } from '../../src/core/index.js';
import { descent } from '../../src/solve/descent.js';
import { multiply } from '../../src/solve/linear-algebra.js';
import { relativeErrors } from '../../src/solve/measure.js';
import { nearest } from '../../src/solve/nearest.js';
import { dequantize, type LayerProblem } from '../../src/solve/problem.js';
import { SOLVERS, type LayerSolver } from '../../src/solve/solvers.js';
import { floatTarget } from '../../src/solve/quadratic.js';
import { toyLayer } from './sparsity/toy-layer.js';

/** Solvers of integer grids; nupes has a test of its own. */
const names = (Object.keys(SOLVERS) as LayerSolver[]).filter((name) => name !== 'nupes');
const context = { rng: createRng(0), threads: 1 };

/** The same layer with inputs that tell nothing of each other. */
function whiten(problem: LayerProblem): LayerProblem {
  const { cols } = problem;
  const gram = [Float64Array.from({ length: cols * cols }, (_, i) => Number(i % (cols + 1) === 0))];
  const mean = [new Float64Array(cols)];
  const moments = { count: 1e6, gram, mean };
  const { heldOut: _heldOut, ...rest } = problem;
  return { ...rest, moments: { ...moments, target: floatTarget(problem, moments) } };
}

describe.each(names)('%s', (name) => {
  const solve = (problem: LayerProblem): ReturnType<(typeof SOLVERS)[LayerSolver]> =>
    SOLVERS[name](problem, 'balanced', context, multiply);

  it.each([4, 3, 2])('beats nearest on samples it has not seen, at %i bits', async (bits) => {
    const { error, fellBack } = await solve(toyLayer(1, { bits }));
    expect(fellBack).toBe(false);
    expect(error.fit).toBeLessThan(0.75 * error.nearest);
    expect(error.heldOut).toBeLessThan(0.9 * (error.heldOutNearest ?? 0));
  });

  it('keeps to the grid', async () => {
    const problem = toyLayer(2, { bits: 3 });
    const { codes } = await solve(problem);
    expect(Math.min(...codes)).toBeGreaterThanOrEqual(problem.grid.low);
    expect(Math.max(...codes)).toBeLessThanOrEqual(problem.grid.high);
  });

  it('has nothing to gain from the rounding on white inputs', async () => {
    const { error } = await solve(whiten(toyLayer(3, { bits: 4 })));
    // Only the scales are left to choose; those of nearest are least-squares already.
    expect(error.fit).toBeGreaterThan(0.9 * error.nearest);
    expect(error.fit).toBeLessThanOrEqual(error.nearest);
  });

  it('reports errors that are those of its codes', async () => {
    const problem = toyLayer(4, { bits: 3 });
    const solution = await solve(problem);
    const candidate = { values: dequantize(problem, solution), bias: solution.biasCorrection };
    const [error] = await relativeErrors(problem, problem.moments, [candidate]);
    expect(solution.error.fit).toBeCloseTo(error ?? NaN, 10);
  });

  it('gives the same codes for the same seed', async () => {
    const problem = toyLayer(5, { bits: 3, cols: 16, rows: 8 });
    const [a, b] = [await solve(problem), await solve(problem)];
    expect(a.codes).toEqual(b.codes);
  });
});

describe('descent', () => {
  it('ends where no change of one code helps', async () => {
    const problem = toyLayer(6, { bits: 3, cols: 16, rows: 4 });
    const solution = await descent(problem, { damping: 0 });
    const best = solution.error.fit;
    const changes: { values: Float64Array }[] = [];
    for (let i = 0; i < solution.codes.length; i++) {
      for (const step of [-1, 1]) {
        const code = (solution.codes[i] ?? 0) + step;
        if (code < problem.grid.low || code > problem.grid.high) continue;
        const codes = solution.codes.slice();
        codes[i] = code;
        changes.push({ values: dequantize(problem, { ...solution, codes }) });
      }
    }
    const errors = await relativeErrors(problem, problem.moments, changes);
    expect(Math.min(...errors)).toBeGreaterThanOrEqual(best * (1 - 1e-9));
  });

  it('finds the exhaustive optimum of small rows at its scale', async () => {
    const problem = toyLayer(7, { bits: 2, cols: 8, rows: 1, samples: 64 });
    const solution = await descent(problem, { damping: 0 });
    const { low, high } = problem.grid;
    const levels = high - low + 1;
    const candidates = Array.from({ length: levels ** 8 }, (_, n) => {
      const codes = Int32Array.from({ length: 8 }, (_, i) => low + (Math.floor(n / levels ** i) % levels));
      return { values: dequantize(problem, { ...solution, codes }) };
    });
    const errors = await relativeErrors(problem, problem.moments, candidates);
    expect(solution.error.fit).toBeLessThanOrEqual(Math.min(...errors) * (1 + 1e-9));
  });

  it('orders as the methods notes say: nearest, then GPTQ, then descent', async () => {
    for (const seed of [1, 2, 3]) {
      const problem = toyLayer(seed, { bits: 3 });
      const [round, gptq, whole] = [
        (await nearest(problem)).error.heldOut ?? NaN,
        (await SOLVERS.gptq(problem, 'balanced', context, multiply)).error.heldOut ?? NaN,
        (await SOLVERS.descent(problem, 'balanced', context, multiply)).error.heldOut ?? NaN,
      ];
      expect(gptq).toBeLessThan(round);
      expect(whole).toBeLessThan(gptq);
    }
  });

  it('gains nothing that matters at 8 bits', async () => {
    const { error } = await descent(toyLayer(8, { bits: 8 }));
    expect((error.heldOutNearest ?? 0) - (error.heldOut ?? 0)).toBeLessThan(1e-4);
  });
});
