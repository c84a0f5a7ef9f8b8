/** NUPES: the exponent of a power grid is learned together with the rounding on it (after arXiv 2308.05600). */
import { FxqError, required } from '../../core/index.js';
import {
  adam,
  cosineSchedule,
  gradients,
  keepBest,
  loop,
  roundStraightThrough,
  runProgram,
  startBest,
  startOptimizer,
  updateParameters,
  type Program,
  type Value,
} from '../../program/index.js';
import { toFloat32, type Tensor } from '../../tensor/index.js';
import { multiply } from '../linear-algebra.js';
import { settle } from '../nearest.js';
import { descendPowerGrid } from '../power-descent.js';
import { EXPONENTS, nearestOnPowerGrid, roundExponent } from '../power-grid.js';
import { type LayerProblem, type LayerSolution } from '../problem.js';
import { quadraticOf, type Product } from '../quadratic.js';
import { startGramProgram, type SolverContext } from './gram-program.js';

export interface NupesOptions {
  readonly iterations: number;
  /** Learning rate of the offsets, in units of the grid. */
  readonly rate: number;
  /** Learning rate of exponent and scales, relative to each. */
  readonly shapeRate: number;
  readonly damping: number;
  /** Ends with coordinate descent over the levels of the exponent found. */
  readonly polish: boolean;
}

export const NUPES_DEFAULTS: NupesOptions = {
  iterations: 2000,
  rate: 2e-3,
  shapeRate: 1e-3,
  damping: 0.001,
  polish: true,
};

/** Weights below this share of the scale count as this share: keeps logarithms finite. */
const SMALLEST_SHARE = 2 ** -24;

/**
 * Solves a layer on a power grid: `t = L·sign(w)·(|w|/s)^a`, `q = clip(round(t + V), −L, L)`,
 * `ŵ = s·sign(q)·(|q|/L)^(1/a)`, with offsets V, one exponent a and the scales s learned together, straight through the
 * rounding, on the layer's whole quadratic in every step. V is free, since another a moves weights by more than one
 * level. The slope of the levels, infinite or zero at q = 0, is taken at |q| = 1/2. The best iterate is kept, and its codes and scales descend to an optimum.
 *
 * @throws FxqError E_FORMAT where the grid is not one of powers
 */
export async function nupes(
  problem: LayerProblem,
  options: Partial<NupesOptions>,
  ctx: SolverContext,
  product: Product = multiply,
): Promise<LayerSolution> {
  const settings = { ...NUPES_DEFAULTS, ...options };
  const { grid, weight } = problem;
  const { power, high: top } = grid;
  if (power === undefined)
    throw new FxqError('E_FORMAT', 'the solver nupes learns power exponents', 'Use --weights powerN.');
  const start = nearestOnPowerGrid(problem, power);
  const quadratic = quadraticOf(problem, settings.damping);
  const gram = startGramProgram(problem, quadratic, start);
  const { p, mask } = gram;
  const sign = gram.constant(weight.map((w) => top * Math.sign(w)));
  const logWeight = gram.constant(weight.map((w) => Math.log(Math.max(Math.abs(w), Number.MIN_VALUE))));
  const parameters = {
    v: p.fullLike(gram.weight, 0),
    stretch: p.fullLike(gram.scale, 1),
    bend: p.scalar(0),
  };
  const quantize = (b: Program, { v, stretch, bend }: typeof parameters) => {
    const exponent = power.free
      ? b.clip(b.mul(b.exp(bend), power.exponent), EXPONENTS.low, EXPONENTS.high)
      : p.scalar(power.exponent);
    const scale = b.mul(gram.scale, stretch);
    const each = gram.spread(b, scale);
    const logShare = b.max(b.sub(logWeight, b.log(each)), Math.log(SMALLEST_SHARE));
    const target = b.mul(sign, b.exp(b.mul(logShare, exponent)));
    const codes = roundStraightThrough(b, b.clip(b.add(target, v), -top, top));
    const values = b.mul(levels(b, codes, exponent, top), each);
    return { codes, scale, exponent, values: mask === undefined ? values : b.mul(values, mask) };
  };
  const optimizer = adam();
  const rate = cosineSchedule(settings.rate, 0, settings.iterations);
  const shapeRate = cosineSchedule(settings.shapeRate, 0, settings.iterations);
  const offsets = { v: parameters.v };
  const shape = { stretch: parameters.stretch, bend: parameters.bend };
  const first = {
    parameters,
    offsets: startOptimizer(p, optimizer, offsets),
    shape: startOptimizer(p, optimizer, shape),
    best: startBest(p, parameters),
  };
  const { state } = loop(p, first, settings.iterations, (b, s, iteration) => {
    const loss = gram.loss(b, quantize(b, s.parameters).values);
    const best = keepBest(b, s.best, loss, s.parameters);
    const { v, ...slopes } = gradients(b, loss, s.parameters);
    const { v: offset, ...now } = s.parameters;
    const step = b.cast(iteration, 'float32');
    const count = b.add(step, 1);
    const moved = updateParameters(b, optimizer, { v: offset }, { v }, s.offsets, {
      rate: rate(b, step),
      count,
    });
    const bent = updateParameters(b, optimizer, now, slopes, s.shape, { rate: shapeRate(b, step), count });
    return {
      state: {
        parameters: { ...moved.parameters, ...bent.parameters },
        offsets: moved.state,
        shape: bent.state,
        best,
      },
    };
  });
  const { codes, scale, exponent } = quantize(p, state.best.iterate);
  const results = await runProgram<Record<'codes' | 'scale' | 'exponent', Value>, Record<string, Tensor>>(
    p,
    { codes, scale, exponent },
    {},
    { threads: ctx.threads },
  );
  const data = (name: string): Float32Array => toFloat32(required(results[name], name));
  const learned = {
    codes: Int32Array.from(data('codes')),
    scale: Float64Array.from(data('scale')),
    zeroPoint: start.zeroPoint,
    exponent: roundExponent(data('exponent')[0] ?? power.exponent),
  };
  const found = settings.polish ? descendPowerGrid(problem, quadratic, learned) : learned;
  return settle(problem, 'nupes', found, start, product);
}

/** sign(q)·(|q|/L)^(1/a), with derivatives by q (at |q| ≥ 1/2) and by a. */
export function levels(b: Program, codes: Value, exponent: Value, top: number): Value {
  const share = b.div(b.max(b.abs(codes), 0.5), top);
  const root = b.exp(b.div(b.log(share), exponent));
  const level = b.mul(b.sign(codes), root);
  return b.tape.setGradient(level, {
    inputs: [codes, exponent],
    rule: (g) => [
      b.mul(g, b.div(root, b.mul(share, b.mul(exponent, top)))),
      b.neg(b.mul(g, b.div(b.mul(level, b.log(share)), b.square(exponent)))),
    ],
  });
}
