/** Distillation as a step of the quantize program: the networks it compares, and its result put into the solutions. */
import { FxqError, type Context } from '../core/index.js';
import { openDataSet, type DataSpec } from '../data/index.js';
import { inferValueTypes } from '../engine/index.js';
import { feedInputs, storeTensor, withGraph, type Model } from '../onnx/index.js';
import { type Plan } from '../plan/index.js';
import { GRADIENT_OPSET } from '../program/index.js';
import { raiseOpset } from '../rewrite/index.js';
import { distill, distillSettings, type DistillReport, type TypedModel } from '../solve/index.js';
import { withFloatWeights, type LayerSolutions, type SolverRequest } from './solve-layers.js';

/**
 * Lets the solved network learn from the float one, where that is asked for.
 *
 * @param float     prepared model before biases were corrected
 * @param solutions of its layers
 * @throws FxqError E_USAGE without data, and what {@link distill} throws
 */
export async function distillLayers<S extends LayerSolutions>(
  float: Model,
  plan: Plan,
  solutions: S,
  spec: DataSpec | undefined,
  { distill: wanted, effort, cache }: SolverRequest,
  ctx: Context,
): Promise<S & { readonly distilled?: DistillReport }> {
  if (wanted === undefined) return solutions;
  if (spec === undefined)
    throw new FxqError('E_USAGE', 'distillation learns from calibration data', [
      'Give --data PATH, also beside --calibration.',
    ]);
  const data = await openDataSet(spec, feedInputs(float.graph), { ...ctx, note: () => undefined });
  const teacher = await typed(float);
  const student = await typed(withFloatWeights(solutions.model, plan));
  const { weights, biases, report } = await distill(
    {
      teacher,
      student,
      plan,
      solved: solutions.weights,
      sparse: new Set(solutions.sparse.keys()),
    },
    data,
    distillSettings(effort, wanted),
    cache,
    ctx,
  );
  noteResult(report, ctx);
  const initializers = new Map(solutions.model.graph.initializers);
  for (const [name, t] of biases) initializers.set(name, storeTensor(t));
  return {
    ...solutions,
    model: withGraph(solutions.model, { ...solutions.model.graph, initializers }),
    weights: new Map([...solutions.weights, ...weights]),
    distilled: report,
  };
}

async function typed(model: Model): Promise<TypedModel> {
  const raised = (await raiseOpset(model, GRADIENT_OPSET)).model;
  return { model: raised, types: await inferValueTypes(raised) };
}

function noteResult({ steps, bestStep, output, samples }: DistillReport, ctx: Context): void {
  const { before, after } = output;
  const result =
    bestStep === 0
      ? `did not lower it, so the solved weights stay`
      : `→ ${after.toExponential(1)} after step ${bestStep} of ${steps}`;
  ctx.note({
    level: 'info',
    code: 'distilled',
    message: `distillation: loss on ${samples.heldOut} held-out samples ${before.toExponential(1)} ${result}`,
  });
}
