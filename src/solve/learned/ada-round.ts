/** AdaRound: each weight learns whether to round up or down, on the layer's quadratic (arXiv 2004.10568). */
import {
  adam,
  delayed,
  gradients,
  linearSchedule,
  loop,
  roundingPenalty,
  softRounding,
  startOptimizer,
  updateParameters,
} from '../../program/index.js';
import { multiply } from '../linear-algebra.js';
import { baseline, settle } from '../nearest.js';
import { type LayerProblem, type LayerSolution } from '../problem.js';
import { quadraticOf, type Product } from '../quadratic.js';
import { runForCodes, startGramProgram, type SolverContext } from './gram-program.js';

export interface AdaRoundOptions {
  readonly iterations: number;
  readonly rate: number;
  /** Weight of the regularizer against the error, which is 1 for nearest rounding. */
  readonly penalty: number;
  /** Share of the iterations before the regularizer sets in. */
  readonly warmUp: number;
  readonly damping: number;
}

export const ADAROUND_DEFAULTS: AdaRoundOptions = {
  iterations: 2000,
  rate: 0.02,
  penalty: 0.5,
  warmUp: 0.2,
  damping: 0.001,
};

/** Exponent of the regularizer: high leaves values in the middle alone, low decides them (section 3.2 of the paper). */
const BETA = { from: 20, to: 2 };

/** Stretch of the rectified sigmoid; as in `softRounding`. */
const [ZETA, GAMMA] = [1.1, -0.1];

/** Solves a layer by AdaRound at least-squares scales. */
export async function adaRound(
  problem: LayerProblem,
  options: Partial<AdaRoundOptions>,
  ctx: SolverContext,
  product: Product = multiply,
): Promise<LayerSolution> {
  const { iterations, rate, penalty, warmUp, damping } = { ...ADAROUND_DEFAULTS, ...options };
  const { grid, sharing, cols } = problem;
  const start = baseline(problem);
  const quadratic = quadraticOf(problem, damping);
  const gram = startGramProgram(problem, quadratic, start);
  const { p, mask, zero } = gram;
  const steps = problem.weight.map((w, i) => {
    const cell = (sharing.rowSet[Math.floor(i / cols)] as number) * sharing.blocks;
    return w / (start.scale[cell + (sharing.block[i % cols] as number)] as number);
  });
  const floor = gram.constant(steps.map(Math.floor));
  const scale = gram.spread(p, gram.scale);
  const optimizer = adam();
  // V with h(V) = the fractional part, so that the first step sees the float weights.
  const v = gram.constant(steps.map((x) => -Math.log((ZETA - GAMMA) / (x - Math.floor(x) - GAMMA) - 1)));
  const warm = Math.round(warmUp * iterations);
  const anneal = delayed(warm, BETA.from, linearSchedule(BETA.from, BETA.to, iterations - warm));
  const strength = delayed(warm, 0, linearSchedule(penalty, penalty, 1));
  const { state } = loop(
    p,
    { v, optimizer: startOptimizer(p, optimizer, { v }) },
    iterations,
    (b, s, iteration) => {
      const step = b.cast(iteration, 'float32');
      const h = softRounding(b, s.v);
      const codes = b.clip(b.add(b.add(floor, h), zero), grid.low, grid.high);
      const values = b.mul(b.sub(codes, zero), scale);
      const error = gram.loss(b, mask === undefined ? values : b.mul(values, mask));
      const share = b.div(roundingPenalty(b, h, anneal(b, step)), problem.weight.length);
      const loss = b.add(error, b.mul(share, strength(b, step)));
      const next = updateParameters(b, optimizer, { v: s.v }, gradients(b, loss, { v: s.v }), s.optimizer, {
        rate,
        count: b.add(step, 1),
      });
      return { state: { v: next.parameters.v, optimizer: next.state } };
    },
  );
  const up = p.cast(p.greaterOrEqual(softRounding(p, state.v), 0.5), 'float32');
  const rounded = p.clip(p.add(p.add(floor, up), zero), grid.low, grid.high);
  const codes = mask === undefined ? rounded : p.where(p.greater(mask, 0), rounded, zero);
  const found = await runForCodes(gram, { codes, scale: gram.scale }, start, ctx);
  return settle(problem, 'adaround', found, start, product);
}
