/** Learned power exponents: against uniform grids and fixed exponents, with uniform weights as the control. */
import { beforeAll, describe, expect, it } from 'vitest';
import { createRng } from '../../src/core/index.js';
import { parseFormat } from '../../src/formats/index.js';
import { createProgram, gradients, runProgram } from '../../src/program/index.js';
import { levels, nupes } from '../../src/solve/learned/nupes.js';
import { multiply } from '../../src/solve/linear-algebra.js';
import { relativeErrors } from '../../src/solve/measure.js';
import { nearest } from '../../src/solve/nearest.js';
import { powerLevels } from '../../src/solve/power-grid.js';
import { descendPowerGrid } from '../../src/solve/power-descent.js';
import { dequantize, type LayerProblem, type LayerSolution } from '../../src/solve/problem.js';
import { floatTarget, quadraticOf } from '../../src/solve/quadratic.js';
import { SOLVERS } from '../../src/solve/solvers.js';
import { type Tensor } from '../../src/tensor/index.js';
import { toyLayer } from './sparsity/toy-layer.js';

const context = { rng: createRng(0), threads: 1 };
const BITS = 4;
const TOP = 7;

/** The toy layer with weights drawn otherwise. */
function layer(draw: (rng: ReturnType<typeof createRng>) => number): LayerProblem {
  const { heldOut, ...base } = toyLayer(1, { bits: BITS, cols: 48, rows: 16 });
  const rng = createRng(5);
  const weight = base.weight.map(() => draw(rng));
  const retarget = (m: LayerProblem['moments']) => ({ ...m, target: floatTarget({ ...base, weight }, m) });
  return { ...base, weight, moments: retarget(base.moments), heldOut: retarget(heldOut) };
}

function onPowers(problem: LayerProblem, format: string): LayerProblem {
  const power = powerLevels(parseFormat(format), problem.weight, problem.sharing);
  return { ...problem, grid: { low: -TOP, high: TOP, symmetric: true, power } };
}

const laplace = layer((rng) => -Math.log(1 - rng.uniform()) * (rng.uniform() < 0.5 ? -0.1 : 0.1));
const uniform = layer((rng) => (rng.uniform() - 0.5) / 4);

describe('levels', () => {
  it('have the derivatives of their formula', async () => {
    const codes = [-7, -3.2, -1.4, 0.6, 2.5, 6];
    const at = async (codes: number[], a: number): Promise<{ y: number[]; q: number[]; a: number }> => {
      const p = createProgram();
      const inputs = { q: p.vector(codes), a: p.scalar(a) };
      const y = levels(p, inputs.q, inputs.a, TOP);
      const slopes = gradients(p, p.reduceSum(y), inputs);
      const found = await runProgram<Record<string, typeof y>, Record<string, Tensor>>(p, {
        y,
        q: slopes.q,
        a: slopes.a,
      });
      const data = (name: string): number[] => Array.from(found[name]?.data as Float32Array);
      return { y: data('y'), q: data('q'), a: data('a')[0] ?? NaN };
    };
    const h = 1e-2;
    const exact = await at(codes, 0.7);
    const sum = (xs: number[]): number => xs.reduce((a, b) => a + b, 0);
    const [up, down] = [await at(codes, 0.7 + h), await at(codes, 0.7 - h)];
    expect(exact.a).toBeCloseTo((sum(up.y) - sum(down.y)) / (2 * h), 3);
    const [right, left] = [
      await at(
        codes.map((q) => q + h),
        0.7,
      ),
      await at(
        codes.map((q) => q - h),
        0.7,
      ),
    ];
    exact.q.forEach((slope, i) =>
      expect(slope).toBeCloseTo(((right.y[i] ?? 0) - (left.y[i] ?? 0)) / (2 * h), 3),
    );
  });

  it('keep a slope at zero, where the formula has none', async () => {
    const p = createProgram();
    const q = p.vector([0]);
    const y = levels(p, q, p.scalar(0.5), TOP);
    const { slope } = await runProgram<{ slope: typeof y }, { slope: Tensor }>(p, {
      slope: gradients(p, p.reduceSum(y), { q }).q,
    });
    expect((slope.data as Float32Array)[0]).toBeGreaterThan(0);
  });
});

describe('nupes on Laplace weights at 4 bits', () => {
  const found: Record<string, LayerSolution> = {};
  beforeAll(async () => {
    found.uniform = await nearest(laplace);
    found.descent = await SOLVERS.descent(laplace, 'balanced', context, multiply);
    found.nearest = await nearest(onPowers(laplace, 'power4'));
    found.straight = await nupes(onPowers(laplace, 'power4a1'), {}, context);
    found.learned = await nupes(onPowers(laplace, 'power4'), {}, context);
    found.rough = await nupes(onPowers(laplace, 'power4'), { polish: false }, context);
  });
  const heldOut = (name: string): number => found[name]?.error.heldOut ?? NaN;

  it('beats the same solver at a = 1, and the best uniform codes', () => {
    expect(heldOut('learned')).toBeLessThan(0.8 * heldOut('straight'));
    expect(heldOut('learned')).toBeLessThan(0.9 * heldOut('descent'));
  });

  it('beats nearest rounding, on power and on uniform levels', () => {
    expect(heldOut('learned')).toBeLessThan(0.6 * heldOut('nearest'));
    expect(heldOut('learned')).toBeLessThan(0.6 * heldOut('uniform'));
  });

  it('gains from gradients alone, and more with the descent at the end', () => {
    expect(heldOut('rough')).toBeLessThan(0.75 * heldOut('nearest'));
    expect(heldOut('learned')).toBeLessThan(heldOut('rough'));
  });

  it('finds an exponent well below 1, on the grid', () => {
    const { exponent = NaN, codes } = found.learned as LayerSolution;
    expect(exponent).toBeGreaterThan(0.4);
    expect(exponent).toBeLessThan(0.85);
    expect(Math.max(...codes.map(Math.abs))).toBeLessThanOrEqual(TOP);
  });

  it('moves weights by more than up or down', () => {
    const { exponent = NaN, codes, scale } = found.learned as LayerSolution;
    const far = laplace.weight.filter((w, i) => {
      const row = Math.floor(i / laplace.cols);
      const t = TOP * Math.sign(w) * (Math.abs(w) / (scale[row] ?? NaN)) ** exponent;
      return Math.abs((codes[i] ?? NaN) - Math.min(Math.max(t, -TOP), TOP)) >= 1;
    });
    expect(far.length).toBeGreaterThan(0);
  });

  it('reports errors that are those of its codes', async () => {
    const problem = onPowers(laplace, 'power4');
    const learned = found.learned as LayerSolution;
    const [error] = await relativeErrors(problem, problem.moments, [
      { values: dequantize(problem, learned) },
    ]);
    expect(learned.error.fit).toBeCloseTo(error ?? NaN, 10);
  });
});

it('stays at a = 1 for uniform weights, where powers have nothing to offer', async () => {
  const straight = await nupes(onPowers(uniform, 'power4a1'), {}, context);
  const learned = await nupes(onPowers(uniform, 'power4'), {}, context);
  expect(Math.abs((learned.exponent ?? NaN) - 1)).toBeLessThan(0.1);
  expect(learned.error.heldOut).toBeGreaterThan(0.85 * (straight.error.heldOut ?? NaN));
});

it('keeps an exponent that the format names', async () => {
  const { exponent } = await nupes(onPowers(laplace, 'power4a0.5'), { iterations: 20 }, context);
  expect(exponent).toBe(0.5);
});

it('refuses grids without powers', async () => {
  await expect(nupes(laplace, {}, context)).rejects.toThrow(/power/);
});

it('descends to codes that no single change improves', async () => {
  const problem = onPowers(laplace, 'power4');
  const quadratic = quadraticOf(problem, 0);
  const start = await nearest(problem);
  const end = descendPowerGrid(problem, quadratic, { ...start, exponent: start.exponent ?? 1 });
  const { codes } = end;
  const changes = Array.from({ length: 200 }, (_, i) => {
    const changed = codes.slice();
    const q = (codes[i] ?? 0) + (i % 2 === 0 ? 1 : -1);
    changed[i] = Math.min(Math.max(q, -TOP), TOP);
    return { values: dequantize(problem, { ...end, codes: changed }) };
  });
  const [best = NaN, ...others] = await relativeErrors(problem, problem.moments, [
    { values: dequantize(problem, end) },
    ...changes,
  ]);
  expect(Math.min(...others)).toBeGreaterThanOrEqual(best * (1 - 1e-9));
});
