/** The float model as it is planned and solved: prepared, evened out, permuted, with thresholds and biases in place. */
import { type Context } from '../core/index.js';
import { opsetForSettings } from '../emit/index.js';
import { parseFormat } from '../formats/index.js';
import { type NodeRule, type PlanSettings } from '../plan/index.js';
import { GRADIENT_OPSET } from '../program/index.js';
import { type EqualizeReport } from '../rewrite/index.js';
import {
  BLOCK_SOLVER,
  findWeightedLayers,
  isSolverName,
  isWorthSolving,
  withBiases,
  type ChannelPermutation,
} from '../solve/index.js';
import { withSparseActivations, type ActivationSparsity } from './activation-sparsity.js';
import { equalize } from './equalize.js';
import { loadModel, type LoadedModel } from './load-model.js';
import { permuteChannels } from './permute-channels.js';
import { type QuantizeRequest } from './quantize-request.js';

/** A model to plan, and what was done to it. */
export interface ReadyModel {
  readonly loaded: LoadedModel;
  readonly equalization?: EqualizeReport;
  readonly permutation?: ChannelPermutation;
  readonly sparsity?: ActivationSparsity;
}

/**
 * Loads the float model and transforms it as the request says.
 *
 * @throws FxqError for a model or data that cannot be used
 */
export async function readyModel(request: QuantizeRequest, ctx: Context): Promise<ReadyModel> {
  const { plan, solving, statistics, activationSparsity: target } = request;
  const spec = statistics?.spec;
  const { loaded: even, ...equalized } = await loadEqualized(request, ctx);
  const { loaded: dense, ...permuted } =
    request.permuteChannels === true
      ? await permuteChannels(even, plan, solving.sparsity, spec, ctx)
      : { loaded: even };
  const { loaded, ...sparse } =
    target === undefined ? { loaded: dense } : await withSparseActivations(dense, target, spec, ctx);
  return {
    loaded: movesBiases(request) ? withBiasesOf(loaded) : loaded,
    ...equalized,
    ...permuted,
    ...sparse,
  };
}

/** The prepared model, with channels evened out where that is asked for. */
async function loadEqualized(
  request: QuantizeRequest,
  ctx: Context,
): Promise<{ readonly loaded: LoadedModel; readonly equalization?: EqualizeReport }> {
  const loaded = await loadModel(request.model, opsetOfRequest(request), ctx);
  for (const note of loaded.notes) ctx.note(note);
  const { equalize: wanted, statistics, plan } = request;
  if (wanted === undefined || wanted.steps.length === 0) return { loaded };
  const equalized = await equalize(loaded, wanted, plan, statistics?.spec, ctx);
  return { loaded: equalized.loaded, equalization: equalized.report };
}

/** The opset that formats need, and gradients where blocks are learned or errors weighed. */
function opsetOfRequest({ plan, binaryPoint, wordLength, solving }: QuantizeRequest): number {
  const solvesBlocks = [plan, ...plan.nodes].some((rule) => rule.solver === BLOCK_SOLVER);
  const learns = solvesBlocks || solving.importance === true || binaryPoint === 'learned';
  return Math.max(
    opsetForSettings(plan),
    learns ? GRADIENT_OPSET : 0,
    wordLength === undefined ? 0 : Math.max(parseFormat('fix16').opset, parseFormat('fix2').opset),
  );
}

/** Whether biases may change, those of layers that have none too. */
function movesBiases({ plan, solving, biasCorrection = 'none' }: QuantizeRequest): boolean {
  const { sparsity, distill } = solving;
  return sparsity !== undefined || distill !== undefined || biasCorrection !== 'none' || asksForSolver(plan);
}

/** Whether some weight may go to a solver: one is named, or some format is narrow enough for `auto`. */
function asksForSolver({ solver, weights, nodes }: PlanSettings): boolean {
  const rules: readonly NodeRule[] = [{ match: {}, solver, weights }, ...nodes];
  if (rules.some(({ sparsity }) => typeof sparsity === 'object')) return true;
  const named = rules.some(({ solver: name = 'auto' }) => isSolverName(name));
  const isNarrow = (format = 'float'): boolean => format !== 'float' && isWorthSolving(format);
  return (
    named || (rules.some((rule) => rule.solver === 'auto') && rules.some((rule) => isNarrow(rule.weights)))
  );
}

/** Solvers correct biases, so layers without one get zeros. */
function withBiasesOf(loaded: LoadedModel): LoadedModel {
  return { ...loaded, model: withBiases(loaded.model, findWeightedLayers(loaded.model.graph)) };
}
