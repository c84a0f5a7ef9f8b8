/** The loss of whole assignments in simulated runs: float arithmetic on quantized values. */
import { required, type Context } from '../core/index.js';
import { withGraph, type Model } from '../onnx/index.js';
import {
  outputsOf,
  sampleLosses,
  simulate,
  type Assignment,
  type Judge,
  type OpenStudy,
  type Realization,
  type Study,
} from '../search/index.js';

/** Mean loss of an assignment with every layer simulated at its candidate. */
export function simulatedLoss({ study, space }: OpenStudy, ctx: Context): Judge {
  const layers = space.groups.flatMap((g) => g.layers);
  return async (assignment: Assignment) => {
    const fixed = await realizations(study, assignment);
    return meanLoss(study, withGraph(study.model, simulate(study.model.graph, layers, fixed)), ctx);
  };
}

/** Numbers of every layer of an assignment. */
export async function realizations(
  { groups, realize }: Study,
  assignment: Assignment,
): Promise<Map<string, Realization>> {
  const fixed = new Map<string, Realization>();
  for (const layer of groups.flatMap((g) => g.layers))
    fixed.set(layer.node, await realize(layer, required(assignment.get(layer.node), layer.node)));
  return fixed;
}

/** Mean loss of a model's output over the study's samples. */
async function meanLoss(study: Study, model: Model, ctx: Context): Promise<number> {
  const outputs = await outputsOf(model, study.batches, study.output, ctx);
  const losses = outputs.flatMap((actual, i) =>
    Array.from(sampleLosses(study.loss, required(study.reference[i], 'a reference'), actual)),
  );
  return losses.reduce((a, b) => a + b, 0) / losses.length;
}
