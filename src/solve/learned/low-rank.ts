/** Low-rank learned rounding: a correction A·B inside the rounding, over the whole grid (LR-QAT, arXiv 2406.06385). */
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
import { tensor } from '../../tensor/index.js';
import { multiply } from '../linear-algebra.js';
import { baseline, settle } from '../nearest.js';
import { type LayerProblem, type LayerSolution } from '../problem.js';
import { quadraticOf, type Product } from '../quadratic.js';
import { runForCodes, startGramProgram, type SolverContext } from './gram-program.js';

export interface LowRankOptions {
  readonly rank: number;
  /** The correction is `strength / rank · A·B`, in units of the grid. */
  readonly strength: number;
  readonly iterations: number;
  readonly rate: number;
  /** Learning rate of the scales, relative to each scale. */
  readonly scaleRate: number;
  /** Fractional bits kept of w / s₀, as in the paper's fixed-point downcast; all of float32 when absent. */
  readonly fractionBits?: number;
  readonly damping: number;
}

export const LOW_RANK_DEFAULTS: LowRankOptions = {
  rank: 32,
  strength: 32,
  iterations: 2000,
  rate: 1e-3,
  scaleRate: 1e-4,
  damping: 0.001,
};

/**
 * Solves a layer: `ŵ = s · (clip(round(φ + z + strength/rank · A·B), low, high) − z)` with φ = w / s₀, A starting at zero
 * and B at random, so that the first iterate is nearest rounding. The best iterate is kept.
 */
export async function lowRank(
  problem: LayerProblem,
  options: Partial<LowRankOptions>,
  ctx: SolverContext,
  product: Product = multiply,
): Promise<LayerSolution> {
  const settings = { ...LOW_RANK_DEFAULTS, ...options };
  const { rows, cols, groups, grid } = problem;
  const start = baseline(problem);
  const gram = startGramProgram(problem, quadraticOf(problem, settings.damping), start);
  const { p, mask, zero } = gram;
  const rank = Math.min(settings.rank, rows / groups, cols);
  const rng = ctx.rng.fork(`low-rank ${problem.name}`);
  const bound = 1 / Math.sqrt(cols);
  const parameters = {
    a: p.constant(tensor('float32', [groups, rows / groups, rank])),
    b: p.constant(
      tensor(
        'float32',
        [groups, rank, cols],
        Float32Array.from({ length: groups * rank * cols }, () => (2 * rng.uniform() - 1) * bound),
      ),
    ),
    /** Factor of every scale. */
    stretch: p.fullLike(gram.scale, 1),
  };
  const exact = p.div(gram.weight, gram.spread(p, gram.scale));
  const units = 2 ** (settings.fractionBits ?? 0);
  const phi = settings.fractionBits === undefined ? exact : p.div(p.round(p.mul(exact, units)), units);
  const quantize = (b: Program, { a, b: right, stretch }: typeof parameters) => {
    const moved = b.add(phi, b.mul(b.matmul(a, right), settings.strength / rank));
    const codes = roundStraightThrough(b, b.clip(b.add(moved, zero), grid.low, grid.high));
    const scale = b.mul(gram.scale, stretch);
    const values = b.mul(b.sub(codes, zero), gram.spread(b, scale));
    return { codes, scale, values: mask === undefined ? values : b.mul(values, mask) };
  };
  const optimizer = adam({ beta2: 0.95 });
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
  return settle(problem, 'lowrank', found, start, product);
}
