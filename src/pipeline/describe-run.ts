/** The manifest of one run of the quantize program. */
import { hashModel } from '../calibrate/index.js';
import { type Context } from '../core/index.js';
import { runtimeVersion } from '../engine/index.js';
import { type Model } from '../onnx/index.js';
import { type Plan, type SolvedWeight } from '../plan/index.js';
import { type FormatEvidence } from '../report/index.js';
import { type DistillReport } from '../solve/index.js';
import { type CalibratedPlan } from './calibrate-plan.js';
import { type CorrectedSolutions } from './correct-biases.js';
import { fxqVersion, type Manifest } from './manifest.js';
import { type QuantizeRequest } from './quantize-request.js';
import { type ReadyModel } from './ready-model.js';

/** Weights and biases as they are written. */
export type FinishedLayers = CorrectedSolutions & { readonly distilled?: DistillReport };

/** What a run decided and made. */
export interface Run {
  readonly ready: ReadyModel;
  readonly calibrated: CalibratedPlan;
  readonly plan: Plan;
  readonly layers: FinishedLayers;
  /** The quantized model. */
  readonly model: Model;
  readonly evidence: FormatEvidence;
}

/** Every decision of a run, with what it was made from. */
export async function describeRun(
  request: QuantizeRequest,
  { ready, calibrated, plan, layers, model, evidence }: Run,
  ctx: Context,
): Promise<Manifest> {
  const { equalization, permutation, sparsity } = ready;
  const { biasCorrection = 'none' } = request;
  return {
    manifestVersion: 1,
    fxq: fxqVersion(),
    onnxruntime: await runtimeVersion(),
    seed: ctx.seed,
    hashes: {
      source: hashModel(ready.loaded.source),
      data: calibrated.dataHash,
      output: hashModel(model),
    },
    settings: {
      plan: request.plan,
      emit: request.emit,
      ...(request.form === undefined ? {} : { form: request.form }),
      ...(equalization === undefined ? {} : { equalize: request.equalize }),
      ...(permutation === undefined ? {} : { permuteChannels: true }),
      ...(biasCorrection === 'none' ? {} : { biasCorrection }),
      ...calibrated.choice,
      ...(request.binaryPoint === undefined ? {} : { binaryPoint: request.binaryPoint }),
      ...(request.wordLength === undefined ? {} : { wordLength: request.wordLength }),
    },
    plan: withWeights(plan, layers.weights),
    weights: Object.fromEntries(layers.reports.map((report) => [report.weight, report])),
    ...(equalization === undefined ? {} : { equalization }),
    ...(permutation === undefined ? {} : { permutation }),
    ...(sparsity === undefined ? {} : { activations: sparsity }),
    ...(layers.biases.length === 0
      ? {}
      : { biases: Object.fromEntries(layers.biases.map((report) => [report.bias, report])) }),
    ...(Object.keys(evidence).length === 0 ? {} : { formats: evidence }),
    ...(layers.distilled === undefined ? {} : { distillation: layers.distilled }),
  };
}

/** Scales and zero points of the weights as solved, for the manifest. */
function withWeights(plan: Plan, weights: ReadonlyMap<string, SolvedWeight>): Plan {
  const entries = Object.entries(plan.weights).map(([name, quantization]) => {
    const solved = weights.get(name);
    return [
      name,
      {
        ...quantization,
        format: solved?.format ?? quantization.format,
        scale: Array.from(solved?.scale ?? []),
        zeroPoint: Array.from(solved?.zeroPoint ?? []),
        ...(solved?.levels === undefined ? {} : { levels: Array.from(solved.levels) }),
      },
    ] as const;
  });
  return { ...plan, weights: Object.fromEntries(entries) };
}
