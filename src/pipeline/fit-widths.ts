/** Solvers may choose codes whose sums exceed a width that nearest rounding kept: such layers are solved again, coarser. */
import { FxqError } from '../core/index.js';
import { narrowLayers, type SolvedWeights } from '../emit/index.js';
import { opsetOf, type Model } from '../onnx/index.js';
import { type Plan, type ValueTypes } from '../plan/index.js';

/** Weights with the model whose biases go with them. */
export interface Answer {
  readonly model: Model;
  readonly weights: SolvedWeights;
}

/** Each round halves what is too wide; rounding may leave a channel one bit above, once or twice. */
const MOST_ROUNDS = 6;

/**
 * Solves until every sum of products keeps to a width.
 *
 * @param limit bits, or undefined to solve once
 * @param solve weights of a plan, keeping to its lowest scales
 * @throws FxqError E_UNSUPPORTED when the widths do not settle
 */
export async function solveWithin<T extends Answer>(
  limit: number | undefined,
  plan: Plan,
  types: ValueTypes,
  solve: (plan: Plan) => Promise<T>,
): Promise<{ readonly plan: Plan; readonly answer: T }> {
  let [current, answer] = [plan, await solve(plan)];
  if (limit === undefined) return { plan, answer };
  for (let round = 0; round < MOST_ROUNDS; round++) {
    const { model, weights: solved } = answer;
    const input = { graph: model.graph, types, opset: opsetOf(model), plan: current, solved };
    const step = await narrowLayers(input, limit);
    if (step.layers.length === 0) return { plan: current, answer };
    current = step.plan;
    answer = await solve(current);
  }
  throw new FxqError(
    'E_UNSUPPORTED',
    `sums of the weights that the solver chooses do not settle within ${limit} bits`,
    'Use --solver nearest, or a wider accumulator.',
  );
}
