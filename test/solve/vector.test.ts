/** Words on a layer: descent over vectors, least squares for words, and what they gain on samples that were not seen. */
import { describe, expect, it } from 'vitest';
import { createRng } from '../../src/core/index.js';
import {
  byBlock,
  byChannel,
  dequantize as valuesOf,
  parseFormat,
  storedFormat,
  WHOLE_TENSOR,
} from '../../src/formats/index.js';
import { autoSolver } from '../../src/solve/index.js';
import { codebookGrid } from '../../src/solve/codebook.js';
import { descend } from '../../src/solve/descent.js';
import { checkSolver } from '../../src/solve/layer-problem.js';
import { cholesky, multiply, solveCholesky } from '../../src/solve/linear-algebra.js';
import { plainMatrices } from '../../src/solve/matrices.js';
import { relativeErrors } from '../../src/solve/measure.js';
import { baseline } from '../../src/solve/nearest.js';
import {
  dequantize,
  shareScales,
  type LayerProblem,
  type LayerSolution,
  type QuantizedMatrix,
} from '../../src/solve/problem.js';
import { costAt, floatTarget, gradientAt, quadraticOf } from '../../src/solve/quadratic.js';
import { refitWords } from '../../src/solve/refit-words.js';
import { SOLVERS } from '../../src/solve/solvers.js';
import { factorizeVectors, successiveWords } from '../../src/solve/successive-words.js';
import {
  nearestOnWords,
  storedWords,
  vectorGrid,
  weightedWords,
  withTable,
} from '../../src/solve/vector-grid.js';
import { vectorDescent } from '../../src/solve/vector-descent.js';
import { toyLayer, type ToyOptions } from './sparsity/toy-layer.js';

const context = { rng: createRng(0), threads: 1 };
const solve = (name: 'gptq' | 'descent', problem: LayerProblem): Promise<LayerSolution> =>
  SOLVERS[name](problem, 'balanced', context, multiply);

function onWords<P extends LayerProblem>(problem: P, name: string): P {
  const { vector } = parseFormat(name);
  return { ...problem, grid: vectorGrid(vector!, problem.weight, problem.sharing) };
}

function onCodebook<P extends LayerProblem>(problem: P, bits: number): P {
  return { ...problem, grid: codebookGrid(parseFormat(`codebook${bits}`), problem.weight, problem.sharing) };
}

const layer = (seed: number, name: string, options: ToyOptions = {}): LayerProblem =>
  onWords(toyLayer(seed, options), name);

const words = ({ grid }: LayerProblem): { size: number; table: readonly number[] } => grid.words!;

/** The objective of codes, undamped by default. */
function costOf(problem: LayerProblem, quantized: QuantizedMatrix, damping = 0): number {
  const quadratic = quadraticOf(problem, damping);
  const values = dequantize(problem, quantized);
  return costAt(problem, quadratic, values, gradientAt(problem, quadratic, values)).reduce(
    (a, b) => a + b,
    0,
  );
}

/** Values of a solution with one vector at every other word, in turn. */
function* singleChanges(
  problem: LayerProblem,
  solution: QuantizedMatrix,
  table: readonly number[],
): Generator<QuantizedMatrix> {
  const { rows, cols } = problem;
  const { size } = words(problem);
  for (let r = 0; r < rows; r++)
    for (let from = 0; from < cols; from += size)
      for (let at = 0; at < table.length; at += size) {
        const codes = solution.codes.slice();
        for (let i = 0; i < Math.min(size, cols - from); i++) codes[r * cols + from + i] = table[at + i]!;
        yield { ...solution, codes };
      }
}

describe('descent on words', () => {
  it.each([
    ['vector4d2', 2, 'channel'],
    ['vector6d2', 3, 'channel'],
    ['vector8d4', 2, 'channel'],
    ['vector6d3', 2, 'tensor'],
  ] as const)(
    'beats nearest words, and single levels of as many bits: %s, %i bits, scales by %s',
    async (name, bits, granularity) => {
      const toy = toyLayer(1, { granularity, rows: 64 });
      const problem = onWords(toy, name);
      const [vectors, single] = [
        await solve('descent', problem),
        await solve('descent', onCodebook(toy, bits)),
      ];
      expect(vectors.fellBack).toBe(false);
      expect(vectors.error.heldOut).toBeLessThan(0.6 * vectors.error.heldOutNearest!);
      expect(vectors.error.heldOut).toBeLessThan(0.95 * single.error.heldOut!);
    },
  );

  it('gains little where weights are independent and uniform, and inputs white', async () => {
    const { heldOut: _, ...toy } = toyLayer(2, { rows: 128 });
    const rng = createRng(3);
    const { cols } = toy;
    const weight = toy.weight.map(() => rng.uniform() - 0.5);
    const gram = new Float64Array(cols * cols);
    for (let c = 0; c < cols; c++) gram[c * (cols + 1)] = 1;
    const moments = { count: 1e6, gram: [gram], mean: [new Float64Array(cols)] };
    const white = {
      ...toy,
      weight,
      moments: { ...moments, target: floatTarget({ ...toy, weight }, moments) },
    };
    const [vectors, single] = [
      await solve('descent', onWords(white, 'vector6d2')),
      await solve('descent', onCodebook(white, 3)),
    ];
    expect(vectors.error.fit).toBeGreaterThan(0.9 * single.error.fit);
    // There is nothing to make up for, so codes are those of nearest words.
    expect(vectors.error.fit).toBeGreaterThan(0.97 * vectors.error.nearest);
  });

  it('gains from refitted words, on samples that were not seen', async () => {
    for (const seed of [1, 2, 3]) {
      const problem = layer(seed, 'vector4d2', { rows: 64 });
      const [fixed, learned] = [await vectorDescent(problem, {}, 0), await vectorDescent(problem, {}, 10)];
      expect(learned.error.fit).toBeLessThan(fixed.error.fit);
      expect(learned.error.heldOut).toBeLessThan(fixed.error.heldOut!);
    }
  });

  it('never does worse for more rounds', async () => {
    const problem = layer(4, 'vector5d2');
    let before = Infinity;
    for (const rounds of [0, 1, 2, 4, 8]) {
      // Descent sees the objective with its damping, so no damping here.
      const { error } = await vectorDescent(problem, { damping: 1e-9 }, rounds);
      expect(error.fit).toBeLessThanOrEqual(before * (1 + 1e-6));
      before = error.fit;
    }
  });

  it('never raises the objective from any start', () => {
    for (const seed of [1, 2, 3]) {
      const problem = layer(seed, 'vector4d3', { rows: 8, cols: 16 });
      const quadratic = quadraticOf(problem, 0.001);
      const start = baseline(problem);
      for (const refits of [0, 5]) {
        const { cost } = descend(problem, quadratic, start, { refits });
        expect(cost.reduce((a, b) => a + b, 0)).toBeLessThan(costOf(problem, start, 0.001));
      }
    }
  });

  it.each([
    ['rows that vectors fill', 'vector4d4', 16, shareScales(4, 16, 'channel')],
    ['rows that they do not fill', 'vector4d8', 12, shareScales(4, 12, 'channel')],
    ['scales that change within vectors', 'vector4d4', 16, shareScales(4, 16, 'block', 6)],
  ])(
    'ends where no other word for one vector helps, on the words it reports: %s',
    async (_, name, cols, sharing) => {
      const toy = toyLayer(6, { cols, rows: 4 });
      const problem = onWords({ ...toy, sharing }, name);
      const solution = await vectorDescent(problem, { damping: 0 }, 10);
      const table = solution.levels ?? words(problem).table;
      const changes = [...singleChanges(problem, solution, table)];
      const errors = await relativeErrors(
        problem,
        problem.moments,
        changes.map((quantized) => ({ values: dequantize(problem, quantized) })),
      );
      expect(errors).toHaveLength(4 * Math.ceil(cols / words(problem).size) * 16);
      expect(Math.min(...errors)).toBeGreaterThanOrEqual(solution.error.fit * (1 - 1e-9));
      expect(() => storedWords(problem.grid.words!, solution, cols)).not.toThrow();
    },
  );

  it('finds the best of all codes of a small row', async () => {
    let best = 0;
    for (const seed of [1, 2, 3, 4, 5, 6]) {
      const problem = layer(seed, 'vector2d2', { rows: 1, cols: 8 });
      const quadratic = quadraticOf(problem, 0);
      const { table } = words(problem);
      const start = baseline(problem);
      const all = Array.from({ length: 4 ** 4 }, (_, i) =>
        Int32Array.from({ length: 8 }, (_, c) => table[2 * (Math.floor(i / 4 ** (c >> 1)) % 4) + (c & 1)]!),
      ).map((codes) => costOf(problem, { ...start, codes }));
      const least = Math.min(...all);
      const factors = await factorizeVectors(quadratic, 8, 2, plainMatrices);
      const starts = [start, await successiveWords(problem, quadratic, start.scale, factors, plainMatrices)];
      const found = Math.min(
        ...starts.map((codes) => descend(problem, quadratic, codes, { refits: 0 }).cost[0]!),
      );
      expect(found).toBeGreaterThanOrEqual(least - 1e-12);
      if (found <= least * (1 + 1e-9)) best++;
    }
    expect(best).toBeGreaterThanOrEqual(4);
  });

  it('gives the same codes and words twice', async () => {
    const problem = layer(5, 'vector6d2', { cols: 16, rows: 8 });
    const [a, b] = [await solve('descent', problem), await solve('descent', problem)];
    expect([a.codes, a.levels, a.scale]).toEqual([b.codes, b.levels, b.scale]);
  });
});

describe('successive rounding on words', () => {
  it('beats nearest words on samples it has not seen', async () => {
    const { error } = await solve('gptq', layer(1, 'vector4d2', { rows: 64 }));
    expect(error.heldOut).toBeLessThan(0.7 * error.heldOutNearest!);
  });

  it('chooses nearest words where inputs are white', async () => {
    const { heldOut: _, ...toy } = toyLayer(3);
    const { cols } = toy;
    const gram = new Float64Array(cols * cols);
    for (let c = 0; c < cols; c++) gram[c * (cols + 1)] = 2;
    const problem = onWords(
      { ...toy, moments: { count: 1, gram: [gram], mean: [new Float64Array(cols)] } },
      'vector8d4',
    );
    const quadratic = quadraticOf(problem, 0);
    const start = baseline(problem);
    const factors = await factorizeVectors(quadratic, cols, 4, plainMatrices);
    const found = await successiveWords(problem, quadratic, start.scale, factors, plainMatrices);
    expect(found.codes).toEqual(start.codes);
  });

  it('goes on from vectors decided before: the last but one is best for the sum of both', async () => {
    // Two columns of one energy that always agree: what the first one lacks, the second one gets.
    const gram = Float64Array.of(1, 0.999, 0.999, 1.001);
    const problem: LayerProblem = {
      ...toyLayer(1, { rows: 1, cols: 4 }),
      cols: 2,
      weight: Float32Array.of(0.3, 0.3),
      moments: { count: 1, gram: [gram], mean: [new Float64Array(2)] },
      grid: { low: -1, high: 1, symmetric: true, words: { size: 1, table: [0, 1], scale: [1] } },
      sharing: shareScales(1, 2, 'tensor'),
    };
    const quadratic = quadraticOf(problem, 0);
    const factors = await factorizeVectors(quadratic, 2, 1, plainMatrices);
    const found = await successiveWords(problem, quadratic, Float64Array.of(1), factors, plainMatrices);
    expect([...found.codes].sort()).toEqual([0, 1]);
  });
});

describe('refitted words', () => {
  const problem = layer(7, 'vector3d2', { rows: 8, cols: 16 });
  const quadratic = quadraticOf(problem, 0);
  const start = baseline(problem);
  const gradient = gradientAt(problem, quadratic, dequantize(problem, start));
  const refitted = refitWords(problem, quadratic, start, gradient);

  it('cost less than the words before, and no entry can be moved to cost less', () => {
    const least = costOf(problem, refitted);
    expect(least).toBeLessThan(costOf(problem, start));
    const { size } = words(problem);
    const { codes: places } = storedWords(problem.grid.words!, { ...refitted }, problem.cols);
    for (let entry = 0; entry < refitted.levels.length; entry++)
      for (const step of [-1, 1]) {
        const codes = refitted.codes.map((code, i) => (places[i] === entry ? code + step : code));
        if (codes.some((code) => Math.abs(code) > 127)) continue;
        expect(costOf(problem, { ...refitted, codes })).toBeGreaterThanOrEqual(least);
      }
    expect(refitted.levels).toHaveLength(8 * size);
  });

  it('cost nearly as little as real entries could', () => {
    const { table } = words(problem);
    const { codes: places } = storedWords(problem.grid.words!, start, problem.cols);
    const from = dequantize(problem, start);
    /** The objective with the words moved; a quadratic form, so its differences are its coefficients. */
    const costs = (change: ArrayLike<number>): number => {
      const values = from.map((v, i) => v + change[places[i]!]! * start.scale[Math.floor(i / problem.cols)]!);
      const all = costAt(problem, quadratic, values, gradientAt(problem, quadratic, values));
      return all.reduce((a, b) => a + b, 0);
    };
    const used = [...new Set(places)];
    const n = used.length;
    const moved = (...entries: number[]): Float64Array =>
      Float64Array.from(table, (_, j) => entries.filter((e) => used[e] === j).length);
    const zero = costs(moved());
    const once = used.map((_, j) => costs(moved(j)));
    const matrix = Float64Array.from({ length: n * n }, (_, i) => {
      const [j, k] = [Math.floor(i / n), i % n];
      return (costs(moved(j, k)) - once[j]! - once[k]! + zero) / 2;
    });
    const right = once.map((cost, j) => -(cost - zero - matrix[j * (n + 1)]!) / 2);
    const best = solveCholesky(cholesky(matrix, n), n, right);
    const real = new Float64Array(table.length);
    used.forEach((j, i) => (real[j] = best[i]!));
    const [least, found] = [costs(real), costOf(problem, refitted)];
    expect(found).toBeGreaterThanOrEqual(least * (1 - 1e-6));
    expect((zero - found) / (zero - least)).toBeGreaterThan(0.98);
  });

  it('count errors by the importance of rows', () => {
    const importance = Float32Array.from({ length: 8 }, (_, r) => (r === 0 ? 1e6 : 1));
    const weighed = refitWords({ ...problem, importance }, quadratic, start, gradient);
    const firstRow = (q: QuantizedMatrix): number => {
      const values = dequantize(problem, q);
      return costAt(problem, quadratic, values, gradientAt(problem, quadratic, values))[0]!;
    };
    expect(firstRow(weighed)).toBeLessThan(firstRow(refitted));
  });
});

it('weighs first words by the energy of inputs, which is the objective where inputs are independent', () => {
  for (const seed of [1, 2, 3]) {
    const { heldOut: _, ...toy } = toyLayer(seed, { granularity: 'tensor', rows: 64 });
    const { cols } = toy;
    const gram = new Float64Array(cols * cols);
    for (let c = 0; c < cols; c++) gram[c * cols + c] = c < 8 ? 64 : 1;
    const moments = { count: 1e6, gram: [gram], mean: [new Float64Array(cols)] };
    const problem = onWords(
      { ...toy, moments: { ...moments, target: floatTarget(toy, moments) } },
      'vector4d2',
    );
    const weighted = weightedWords(problem, quadraticOf(problem, 0));
    expect(costOf(problem, nearestOnWords(problem, weighted))).toBeLessThan(
      costOf(problem, baseline(problem)),
    );
  }
});

it.each([
  ['tensor', WHOLE_TENSOR, shareScales(24, 60, 'tensor')],
  ['channel', byChannel([24, 60], 0), shareScales(24, 60, 'channel')],
  ['block', byBlock([24, 60], 1, 10), shareScales(24, 60, 'block', 10)],
] as const)('stores the values that it was solved for: %s', async (_, grouping, sharing) => {
  const toy = toyLayer(8, { cols: 60 });
  const problem = onWords({ ...toy, sharing }, 'vector6d8');
  const solution = await solve('descent', problem);
  const { codes, scale, levels } = storedWords(problem.grid.words!, solution, 60);
  const stored = { codes, scale: Float32Array.from(scale), zeroPoint: new Int32Array(scale.length) };
  expect(Float64Array.from(stored.scale)).toEqual(scale);
  const back = valuesOf(storedFormat('vector6d8', levels), stored, grouping);
  expect(back).toEqual(Float32Array.from(dequantize(problem, solution)));
  expect(withTable(problem, levels).grid.words!.table).toEqual(levels);
});

it('takes solvers that choose words, and descent by itself', () => {
  for (const solver of ['gptq', 'descent'] as const) checkSolver(solver, 'vector8d4');
  expect(() => checkSolver('nupes', 'vector8d4')).toThrow(/power formats, not of vector8d4/);
  for (const solver of ['adaround', 'adaquant', 'lowrank', 'block'] as const)
    expect(() => checkSolver(solver, 'vector8d4')).toThrow(/which are not the levels of vector8d4/);
  expect(autoSolver('vector8d4')).toBe('descent');
});
