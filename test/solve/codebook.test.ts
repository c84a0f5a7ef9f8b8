/** Learned levels on a layer: least squares, descent in turns, and what they gain on samples that were not seen. */
import { describe, expect, it } from 'vitest';
import { createRng } from '../../src/core/index.js';
import { dequantize as valuesOf, parseFormat, storedFormat, WHOLE_TENSOR } from '../../src/formats/index.js';
import { codebookGrid, storedCodebook, weightedGrid, withLevels } from '../../src/solve/codebook.js';
import { codebookDescent } from '../../src/solve/codebook-descent.js';
import { checkSolver } from '../../src/solve/layer-problem.js';
import { multiply } from '../../src/solve/linear-algebra.js';
import { relativeErrors } from '../../src/solve/measure.js';
import { baseline } from '../../src/solve/nearest.js';
import { dequantize, type LayerProblem, type QuantizedMatrix } from '../../src/solve/problem.js';
import { costAt, floatTarget, gradientAt, quadraticOf } from '../../src/solve/quadratic.js';
import { refitLevels } from '../../src/solve/refit-levels.js';
import { nearestCodes } from '../../src/solve/scales.js';
import { SOLVERS } from '../../src/solve/solvers.js';
import { toyLayer, type ToyOptions } from './sparsity/toy-layer.js';

const context = { rng: createRng(0), threads: 1 };
const solve = (name: 'gptq' | 'descent' | 'nupes', problem: LayerProblem) =>
  SOLVERS[name](problem, 'balanced', context, multiply);

function onCodebook(problem: LayerProblem, bits: number): LayerProblem {
  const grid = codebookGrid(parseFormat(`codebook${bits}`), problem.weight, problem.sharing);
  return { ...problem, grid };
}

const layer = (seed: number, bits: number, options: ToyOptions = {}): LayerProblem =>
  onCodebook(toyLayer(seed, { bits, ...options }), bits);

/** The undamped objective of codes. */
function costOf(problem: LayerProblem, quantized: QuantizedMatrix): number {
  const quadratic = quadraticOf(problem, 0);
  const values = dequantize(problem, quantized);
  return costAt(problem, quadratic, values, gradientAt(problem, quadratic, values)).reduce(
    (a, b) => a + b,
    0,
  );
}

describe('descent on a codebook', () => {
  it.each([
    [4, 'channel'],
    [3, 'channel'],
    [2, 'channel'],
    [3, 'tensor'],
  ] as const)(
    'beats nearest levels and the best uniform codes at %i bits, scales by %s',
    async (bits, granularity) => {
      const uniform = toyLayer(1, { bits, granularity });
      const [learned, even] = [
        await solve('descent', onCodebook(uniform, bits)),
        await solve('descent', uniform),
      ];
      expect(learned.fellBack).toBe(false);
      expect(learned.error.heldOut).toBeLessThan(0.7 * (learned.error.heldOutNearest ?? 0));
      expect(learned.error.heldOut).toBeLessThan(0.92 * (even.error.heldOut ?? 0));
    },
  );

  it('gains little over uniform codes where weights are uniform', async () => {
    const base = toyLayer(2, { bits: 4 });
    const rng = createRng(3);
    const weight = base.weight.map(() => (rng.uniform() - 0.5) / 4);
    const retarget = (m: LayerProblem['moments']) => ({ ...m, target: floatTarget({ ...base, weight }, m) });
    const problem = { ...base, weight, moments: retarget(base.moments), heldOut: retarget(base.heldOut) };
    const [learned, even] = [await solve('descent', onCodebook(problem, 4)), await solve('descent', problem)];
    expect(learned.error.heldOut).toBeGreaterThan(0.85 * (even.error.heldOut ?? 0));
  });

  it('gains from refitted levels, on samples that were not seen', async () => {
    for (const seed of [1, 2, 3]) {
      const problem = layer(seed, 2);
      const [fixed, learned] = [
        await codebookDescent(problem, {}, 0),
        await codebookDescent(problem, {}, 10),
      ];
      expect(learned.error.fit).toBeLessThan(fixed.error.fit);
      expect(learned.error.heldOut).toBeLessThan(fixed.error.heldOut ?? 0);
    }
  });

  it('never does worse for more rounds', async () => {
    const problem = layer(4, 3);
    let before = Infinity;
    for (const rounds of [0, 1, 2, 4, 8]) {
      // Descent sees the objective with its damping, so no damping here.
      const { error } = await codebookDescent(problem, { damping: 1e-9 }, rounds);
      expect(error.fit).toBeLessThanOrEqual(before * (1 + 1e-6));
      before = error.fit;
    }
  });

  it('ends where no change of one code helps, on the levels it reports', async () => {
    const problem = layer(6, 2, { cols: 16, rows: 4 });
    const solution = await codebookDescent(problem, { damping: 0 }, 10);
    const levels = solution.levels ?? [];
    for (const code of solution.codes) expect(levels).toContain(code);
    const changes = Array.from(solution.codes).flatMap((code, i) =>
      levels
        .filter((level) => level !== code)
        .map((level) => ({
          values: dequantize(problem, { ...solution, codes: solution.codes.with(i, level) }),
        })),
    );
    const errors = await relativeErrors(problem, problem.moments, changes);
    expect(Math.min(...errors)).toBeGreaterThanOrEqual(solution.error.fit * (1 - 1e-9));
  });

  it('gives the same codes and levels twice', async () => {
    const problem = layer(5, 3, { cols: 16, rows: 8 });
    const [a, b] = [await solve('descent', problem), await solve('descent', problem)];
    expect([a.codes, a.levels]).toEqual([b.codes, b.levels]);
  });
});

describe('gptq on a codebook', () => {
  it('beats nearest levels on samples it has not seen', async () => {
    const problem = layer(1, 3);
    const { error, codes } = await solve('gptq', problem);
    expect(error.heldOut).toBeLessThan(0.7 * (error.heldOutNearest ?? 0));
    expect(problem.grid.levels).toEqual(expect.arrayContaining([...new Set(codes)]));
  });
});

describe('refitted levels', () => {
  const problem = layer(7, 2, { rows: 8, cols: 16 });
  const quadratic = quadraticOf(problem, 0);
  const start = baseline(problem);
  const gradient = gradientAt(problem, quadratic, dequantize(problem, start));
  const refitted = refitLevels(problem, quadratic, start, gradient);

  it('cost less than the levels before, and no level can be moved to cost less', () => {
    const least = costOf(problem, refitted);
    expect(least).toBeLessThan(costOf(problem, start));
    for (const level of new Set(refitted.codes))
      for (const step of [-1000, 1000]) {
        const codes = refitted.codes.map((code) => (code === level ? code + step : code));
        expect(costOf(problem, { ...refitted, codes })).toBeGreaterThan(least);
      }
  });

  it('leave a level of zero where it is', () => {
    const [, second = 0] = problem.grid.levels ?? [];
    const grid = withLevels(
      problem.grid,
      (problem.grid.levels ?? []).map((l) => (l === second ? 0 : l)),
    );
    const onZero = { ...problem, grid };
    const from = baseline(onZero);
    const after = refitLevels(
      onZero,
      quadratic,
      from,
      gradientAt(onZero, quadratic, dequantize(onZero, from)),
    );
    expect(after.levels).toContain(0);
    from.codes.forEach((code, i) => expect(after.codes[i] === 0).toBe(code === 0));
  });

  it('count errors by the importance of rows', () => {
    const importance = Float32Array.from({ length: 8 }, (_, r) => (r === 0 ? 1e6 : 1));
    const weighed = refitLevels({ ...problem, importance }, quadratic, start, gradient);
    const firstRow = (q: QuantizedMatrix): number => {
      const values = dequantize(problem, q);
      return costAt(problem, quadratic, values, gradientAt(problem, quadratic, values))[0] ?? NaN;
    };
    expect(firstRow(weighed)).toBeLessThan(firstRow(refitted));
  });
});

it('weighs first levels by the energy of inputs, which is the objective where inputs are independent', async () => {
  for (const seed of [1, 2, 3]) {
    const { heldOut: _, ...toy } = toyLayer(seed, { granularity: 'tensor' });
    const { cols } = toy;
    const gram = new Float64Array(cols * cols);
    for (let c = 0; c < cols; c++) gram[c * cols + c] = c < 8 ? 64 : 1;
    const moments = { count: 1e6, gram: [gram], mean: [new Float64Array(cols)] };
    const problem = onCodebook({ ...toy, moments: { ...moments, target: floatTarget(toy, moments) } }, 2);
    const start = baseline(problem);
    const grid = weightedGrid(problem, quadraticOf(problem, 0), start.scale);
    const weighted = nearestCodes({ ...problem, grid }, start);
    expect(costOf(problem, weighted)).toBeLessThan(costOf(problem, start));
  }
});

it('stores the values that it was solved for', async () => {
  const problem = layer(8, 3, { granularity: 'tensor' });
  const solution = await solve('descent', problem);
  const { codes, scale, levels } = storedCodebook(problem.grid, solution);
  const stored = { codes, scale: Float32Array.from(scale), zeroPoint: new Int32Array(1) };
  const back = valuesOf(storedFormat('codebook3', levels), stored, WHOLE_TENSOR);
  expect(back).toEqual(Float32Array.from(dequantize(problem, solution)));
});

it('takes solvers that move from level to level', () => {
  for (const solver of ['gptq', 'descent'] as const) checkSolver(solver, 'codebook3');
  expect(() => checkSolver('nupes', 'codebook3')).toThrow(/power formats, not of codebook3/);
  for (const solver of ['adaround', 'adaquant', 'lowrank', 'block'] as const)
    expect(() => checkSolver(solver, 'codebook3')).toThrow(/which are not the levels of codebook3/);
});
