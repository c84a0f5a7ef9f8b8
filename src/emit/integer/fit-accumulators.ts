/** Making every accumulator of an integer model fit a width: coarser weight grids where sums could grow too large. */
import { FxqError } from '../../core/index.js';
import { type Plan } from '../../plan/index.js';
import { type SolvedWeights } from '../qdq.js';
import { lowerToIntegers } from './lower.js';
import { type LoweringInput } from './lowering.js';
import { accumulatorWidths, narrowAccumulators, sumsProducts, type NarrowedPlan } from './widths.js';

/** Rounding can leave a channel one bit above the limit, once or twice. */
const MOST_ROUNDS = 8;

export interface FittedPlan {
  readonly plan: Plan;
  readonly solved: SolvedWeights;
  /** Layers whose weights got coarser, with the number of channels. */
  readonly narrowed: ReadonlyMap<string, number>;
}

/** The plan with larger scales for layers whose sums exceed a width with given weights, and these layers. */
export async function narrowLayers(input: LoweringInput, limit: number): Promise<NarrowedPlan> {
  const { program } = await lowerToIntegers(input);
  return narrowAccumulators(input.plan, program, input.solved, limit);
}

/**
 * Raises weight scales until no convolution or matrix product with constant weights needs more than `limit` bits.
 *
 * @param round weights of a plan, keeping to its lowest scales
 * @throws FxqError E_UNSUPPORTED naming an accumulator that stays wider, because its width has other causes
 */
export async function fitAccumulators(
  input: LoweringInput,
  limit: number,
  round: (plan: Plan) => SolvedWeights,
): Promise<FittedPlan> {
  let { plan, solved } = input;
  const narrowed = new Map<string, number>();
  for (let i = 0; i < MOST_ROUNDS; i++) {
    const { program } = await lowerToIntegers({ ...input, plan, solved });
    const step = narrowAccumulators(plan, program, solved, limit);
    if (step.layers.length === 0) {
      const widest = accumulatorWidths(program).find((width) => sumsProducts(width) && width.bits > limit);
      if (widest === undefined) return { plan, solved, narrowed };
      throw new FxqError(
        'E_UNSUPPORTED',
        `the accumulator of '${widest.node}' needs ${widest.bits} bits, and coarser weights would not change that`,
        'Choose fewer activation bits for this layer, or a wider accumulator.',
      );
    }
    for (const { node, channels } of step.layers)
      narrowed.set(node, Math.max(channels.length, narrowed.get(node) ?? 0));
    plan = step.plan;
    solved = round(plan);
  }
  throw new FxqError(
    'E_UNSUPPORTED',
    `accumulators do not fit ${limit} bits: scales of the weights cannot be raised far enough`,
    'Choose a wider accumulator.',
  );
}
