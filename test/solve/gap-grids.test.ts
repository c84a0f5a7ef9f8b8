/** Grids that leave integers out: sums of powers of two, solved over their own levels. */
import { describe, expect, it } from 'vitest';
import { createRng } from '../../src/core/index.js';
import { parseFormat, signedDigits } from '../../src/formats/index.js';
import { descent } from '../../src/solve/descent.js';
import { codesByDistance, nearestCode, nextCode } from '../../src/solve/grid.js';
import { gridOf } from '../../src/solve/layer-problem.js';
import { multiply } from '../../src/solve/linear-algebra.js';
import { relativeErrors } from '../../src/solve/measure.js';
import { dequantize, type LayerProblem } from '../../src/solve/problem.js';
import { SOLVERS } from '../../src/solve/solvers.js';
import { toyLayer } from './sparsity/toy-layer.js';

const context = { rng: createRng(0), threads: 1 };

/** The toy layer on the grid of a format. */
function layer(seed: number, format: string, options = {}): LayerProblem {
  return { ...toyLayer(seed, options), grid: gridOf(format) };
}

describe('a grid with gaps', () => {
  const grid = gridOf('pot8k2');
  const levels = grid.levels ?? [];

  it('holds the sums of at most two signed powers of two', () => {
    const expected = Array.from({ length: 255 }, (_, i) => i - 127).filter((n) => signedDigits(n) <= 2);
    expect(levels).toEqual(expected);
  });

  it('rounds to the code that an exhaustive look finds nearest', () => {
    const rng = createRng(1);
    for (let i = 0; i < 500; i++) {
      const x = 300 * (rng.uniform() - 0.5);
      const least = Math.min(...levels.map((level) => Math.abs(level - x)));
      expect(Math.abs(nearestCode(x, 0, grid) - x)).toBe(least);
    }
  });

  it('has neighbours up to its ends', () => {
    expect([nextCode(grid, 8, 1), nextCode(grid, 10, 1), nextCode(grid, 12, -1)]).toEqual([9, 12, 10]);
    expect([nextCode(grid, grid.high, 1), nextCode(grid, grid.low, -1)]).toEqual([undefined, undefined]);
  });

  it('lists all its codes, nearest first', () => {
    const listed = [...codesByDistance(grid, 11.2)];
    expect(listed.slice(0, 3)).toEqual([12, 10, 9]);
    expect(listed.toSorted((a, b) => a - b)).toEqual(levels);
  });

  it('ends at the largest power of two where one term is allowed', () => {
    expect(gridOf('pot8k1')).toMatchObject({ low: -64, high: 64 });
  });
});

describe.each(['gptq', 'descent'] as const)('%s', (name) => {
  it.each([
    ['pot8k1', 0.5],
    ['pot8k2', 0.6],
    ['pot8t2', 0.6],
  ])('beats projection to %s on samples it has not seen', async (format, share) => {
    const solution = await SOLVERS[name](layer(1, format), 'balanced', context, multiply);
    expect(solution.error.heldOut).toBeLessThan(share * (solution.error.heldOutNearest ?? 0));
    const { encode } = parseFormat(format);
    for (const code of solution.codes) expect(encode(code)).toBe(code);
  });
});

describe('descent', () => {
  it('finds the exhaustive optimum of a small row', async () => {
    const problem = layer(7, 'pot4k1', { cols: 4, rows: 1, samples: 64 });
    const solution = await descent(problem, { damping: 0 });
    const levels = problem.grid.levels ?? [];
    const candidates = Array.from({ length: levels.length ** 4 }, (_, n) => {
      const codes = Int32Array.from(
        { length: 4 },
        (_, i) => levels[Math.floor(n / levels.length ** i) % levels.length] ?? 0,
      );
      return { values: dequantize(problem, { ...solution, codes }) };
    });
    const errors = await relativeErrors(problem, problem.moments, candidates);
    expect(solution.error.fit).toBeLessThanOrEqual(Math.min(...errors) * (1 + 1e-9));
  });

  it('changes pairs of codes on the levels', async () => {
    const problem = layer(3, 'pot8k2', { cols: 24, rows: 4 });
    const [single, pairs] = [
      await descent(problem, { exact: 0 }),
      await descent(problem, { exact: 0, pairs: true }),
    ];
    expect(pairs.error.fit).toBeLessThanOrEqual(single.error.fit);
    for (const code of pairs.codes) expect(problem.grid.levels).toContain(code);
  });

  it('makes two terms as good as six uniform bits on equal terms', async () => {
    for (const seed of [1, 2, 3]) {
      const [two, six] = [await descent(layer(seed, 'pot8k2')), await descent(layer(seed, 'fix6'))];
      expect(two.error.heldOut).toBeLessThan(2 * (six.error.heldOut ?? 0));
    }
  });
});
