/** AdaQuant: weights move anywhere on the grid by learned offsets, together with their scales (arXiv 2006.10518). */
import {
  adam,
  cosineSchedule,
  gradients,
  keepBest,
  loop,
  roundStraightThrough,
  startBest,
  startOptimizer,
  updateParameters,
  type Program,
  type Value,
} from '../../program/index.js';
import { multiply } from '../linear-algebra.js';
import { baseline, settle } from '../nearest.js';
import { type LayerProblem, type LayerSolution } from '../problem.js';
import { quadraticOf, type Product } from '../quadratic.js';
import { runForCodes, startGramProgram, type SolverContext } from './gram-program.js';

export interface AdaQuantOptions {
  readonly iterations: number;
  /** Learning rate of the offsets, in units of the grid. */
  readonly rate: number;
  /** Learning rate of the scales, relative to each scale. */
  readonly scaleRate: number;
  readonly damping: number;
}

export const ADAQUANT_DEFAULTS: AdaQuantOptions = {
  iterations: 2000,
  rate: 2e-3,
  scaleRate: 1e-3,
  damping: 0.001,
};

/**
 * Solves a layer: `ŵ = s · (clip(round(w / s₀ + z + V), low, high) − z)` with V and s learned straight through the
 * rounding. Biases follow exactly from the centred moments. The best iterate is kept.
 */
export async function adaQuant(
  problem: LayerProblem,
  options: Partial<AdaQuantOptions>,
  ctx: SolverContext,
  product: Product = multiply,
): Promise<LayerSolution> {
  const settings = { ...ADAQUANT_DEFAULTS, ...options };
  const { grid } = problem;
  const start = baseline(problem);
  const gram = startGramProgram(problem, quadraticOf(problem, settings.damping), start);
  const { p, mask, zero } = gram;
  const parameters = { v: p.fullLike(gram.weight, 0), stretch: p.fullLike(gram.scale, 1) };
  const steps = p.add(p.div(gram.weight, gram.spread(p, gram.scale)), zero);
  const quantize = (b: Program, { v, stretch }: typeof parameters) => {
    const codes = roundStraightThrough(b, b.clip(b.add(steps, v), grid.low, grid.high));
    const scale = b.mul(gram.scale, stretch);
    const values = b.mul(b.sub(codes, zero), gram.spread(b, scale));
    return { codes, scale, values: mask === undefined ? values : b.mul(values, mask) };
  };
  const optimizer = adam();
  const rate = cosineSchedule(settings.rate, 0, settings.iterations);
  const first = {
    parameters,
    optimizer: startOptimizer(p, optimizer, parameters),
    best: startBest(p, parameters),
  };
  const { state } = loop(p, first, settings.iterations, (b, s, iteration) => {
    const loss = gram.loss(b, quantize(b, s.parameters).values);
    const best = keepBest(b, s.best, loss, s.parameters);
    const slopes = gradients(b, loss, s.parameters);
    const step = b.cast(iteration, 'float32');
    const next = updateParameters(b, optimizer, s.parameters, slopes, s.optimizer, {
      rate: rate(b, step),
      count: b.add(step, 1),
    });
    return { state: { parameters: next.parameters, optimizer: next.state, best } };
  });
  const { codes, scale } = quantize(p, state.best.iterate);
  const kept: Value = mask === undefined ? codes : p.where(p.greater(mask, 0), codes, zero);
  const found = await runForCodes(gram, { codes: kept, scale }, start, ctx);
  return settle(problem, 'adaquant', found, start, product);
}
