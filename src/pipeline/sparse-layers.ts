/** Which layers of a plan become sparse, by rules of single layers and by a pattern for all that can take one. */
import { FxqError, type Context } from '../core/index.js';
import { parseFormat } from '../formats/index.js';
import { type Model } from '../onnx/index.js';
import { type Plan, type Sparsity } from '../plan/index.js';
import {
  SPARSE_SOLVERS,
  isSolvable,
  isSparseSolver,
  parsePattern,
  sparseEligibility,
  type SparseChoice,
  type SparseEligibility,
  type SparseLayers,
} from '../solve/index.js';

/**
 * Chooses the sparse layers. A pattern for all goes to the eligible ones, and what stays dense is noted with its reason;
 * a pattern that a rule gives to a layer must fit it.
 *
 * @throws FxqError E_UNSUPPORTED for a rule that asks too much of a layer, or when no layer can take the common pattern
 */
export function sparseLayers(
  model: Model,
  plan: Plan,
  common: Sparsity | undefined,
  ctx: Context,
): SparseLayers {
  const chosen = new Map<string, SparseChoice>();
  if (common !== undefined)
    for (const node of eligibleNodes(model, plan, common, ctx)) chosen.set(node, choiceOf(common));
  const eligible = new Map<string, Map<string, SparseEligibility>>();
  for (const { node, weights } of Object.values(plan.nodes)) {
    const sparsity = Object.values(weights).map((w) => plan.weights[w]?.sparsity)[0];
    if (sparsity === undefined) continue;
    if (sparsity === 'dense') {
      chosen.delete(node);
      continue;
    }
    const choice = choiceOf(sparsity);
    const all =
      eligible.get(sparsity.pattern) ??
      new Map(sparseEligibility(model.graph, choice.pattern, { ends: true }).map((e) => [e.node, e]));
    eligible.set(sparsity.pattern, all);
    const why = whyDense(plan, all.get(node));
    if (why !== undefined)
      throw new FxqError(
        'E_UNSUPPORTED',
        `a rule asks for ${sparsity.pattern} in '${node}', but ${why}`,
        'Take this node out of the rule.',
      );
    chosen.set(node, choice);
  }
  return chosen;
}

function choiceOf({ pattern, method }: Sparsity): SparseChoice {
  if (!isSparseSolver(method))
    throw new FxqError('E_USAGE', `'${method}' chooses no sparse weights`, [
      `Use ${SPARSE_SOLVERS.join(', ')}.`,
    ]);
  return { pattern: parsePattern(pattern), method };
}

function whyDense(plan: Plan, eligibility: SparseEligibility | undefined): string | undefined {
  if (eligibility?.layer === undefined) return eligibility?.why ?? 'it has no weight';
  const format = plan.weights[eligibility.layer.weight]?.format;
  if (format === undefined || !isSolvable(parseFormat(format)))
    return 'its weight is not quantized to integers';
  return parseFormat(format).uniform
    ? undefined
    : `the levels of ${format} are not all the integers of a range`;
}

function eligibleNodes(model: Model, plan: Plan, { pattern }: Sparsity, ctx: Context): string[] {
  const all = sparseEligibility(model.graph, parsePattern(pattern));
  const nodes = all.flatMap((e) => (whyDense(plan, e) === undefined ? [e.node] : []));
  if (nodes.length === 0) {
    const reasons = [...new Set(all.map((e) => `${e.node}: ${whyDense(plan, e) ?? ''}`))];
    throw new FxqError('E_UNSUPPORTED', `no layer can be ${pattern} sparse`, reasons.slice(0, 5));
  }
  const dense = all.flatMap((e) => (e.why === undefined ? [] : [`${e.node} (${e.why})`]));
  if (dense.length > 0)
    ctx.note({
      level: 'info',
      code: 'dense',
      message: `${nodes.length} layers become ${pattern} sparse; dense stay ${dense.join(', ')}`,
    });
  return nodes;
}
