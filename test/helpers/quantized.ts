/** Plans with the same range for every activation, for tests that are about structure and not about accuracy. */
import { emitQdq } from '../../src/emit/index.js';
import { inferValueTypes } from '../../src/engine/index.js';
import { parametersForRange, parseFormat } from '../../src/formats/index.js';
import { type Model } from '../../src/onnx/index.js';
import {
  DEFAULT_SETTINGS,
  guardBiases,
  isSymmetric,
  planQuantization,
  type Plan,
  type PlanSettings,
} from '../../src/plan/index.js';
import { roundToNearest } from '../../src/solve/round-to-nearest.js';

/** The plan of a model with every activation in [low, high]; values behind a Relu or Sigmoid start at 0. */
export async function planFixed(
  model: Model,
  settings: Partial<PlanSettings> = {},
  [low, high]: readonly [number, number] = [-4, 4],
): Promise<Plan> {
  const plan = planQuantization(model, await inferValueTypes(model), { ...DEFAULT_SETTINGS, ...settings });
  const positive = new Set(
    model.graph.nodes
      .filter((n) => ['Relu', 'Clip', 'Sigmoid', 'Softmax'].includes(n.opType))
      .flatMap((n) => n.outputs),
  );
  const activations = Object.entries(plan.activations).map(([id, a]) => {
    const range = { low: positive.has(a.value) ? 0 : low, high };
    const { scale, zeroPoint } = parametersForRange(parseFormat(a.format), range, {
      symmetric: isSymmetric(a.format),
    });
    return [id, { ...a, scale: [scale], zeroPoint: [zeroPoint] }] as const;
  });
  return guardBiases({ ...plan, activations: Object.fromEntries(activations) }, model.graph);
}

/** A model quantized with fixed ranges and nearest rounding. */
export async function quantizeFixed(model: Model, settings: Partial<PlanSettings> = {}): Promise<Model> {
  const plan = await planFixed(model, settings);
  return emitQdq(model, plan, roundToNearest(model.graph, plan, 'range'));
}
