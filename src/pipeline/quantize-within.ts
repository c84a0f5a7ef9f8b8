/** Search and quantize in one go: the best assignment under budgets becomes the model. */
import { type Context } from '../core/index.js';
import { pointRules, type ParetoFile } from '../search/index.js';
import { checkRequest, type QuantizeRequest, type QuantizeResult } from './quantize-request.js';
import { quantize } from './quantize.js';
import { search, type SearchRequest } from './search.js';

/** The name of the point that `search` finds for its budgets. */
const POINT = 'budget';

/**
 * Quantizes with the formats that a search under budgets finds; its Pareto file is written, too.
 *
 * @throws FxqError E_BUDGET (exit status 1) when no assignment keeps the budgets
 */
export async function quantizeWithin(
  request: QuantizeRequest,
  searching: SearchRequest,
  ctx: Context,
): Promise<QuantizeResult & { readonly pareto: ParetoFile }> {
  checkRequest(request);
  const pareto = await search({ ...searching, dryRun: request.dryRun }, ctx);
  const nodes = [...request.plan.nodes, ...pointRules(pareto, POINT)];
  const result = await quantize({ ...request, plan: { ...request.plan, nodes } }, ctx);
  return { ...result, pareto };
}
