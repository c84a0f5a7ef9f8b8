/** Integer models of small graphs, run by the interpreter and by the runtime. */
import { createRng } from '../../../src/core/index.js';
import {
  interpret,
  lowerToIntegers,
  writeIntegerModel,
  type Lowered,
} from '../../../src/emit/integer/index.js';
import { inferValueTypes, openSession, withOutputs } from '../../../src/engine/index.js';
import { opsetOf, type Model } from '../../../src/onnx/index.js';
import { parametersForRange, parseFormat, sampleRange } from '../../../src/formats/index.js';
import { guardBiases, isSymmetric, type Plan, type PlanSettings } from '../../../src/plan/index.js';
import { roundToNearest } from '../../../src/solve/round-to-nearest.js';
import { sizeOf, tensor, toFloat32, type Tensor } from '../../../src/tensor/index.js';
import { planFixed } from '../../helpers/quantized.js';

export interface IntegerModel {
  readonly lowered: Lowered;
  readonly model: Model;
  readonly plan: Plan;
}

/** Lowers and writes a model with the activation ranges of one batch and nearest rounding. */
export async function integerModel(
  model: Model,
  inputs: Readonly<Record<string, Tensor>>,
  settings: Partial<PlanSettings> = {},
): Promise<IntegerModel> {
  const plan = await planObserved(model, inputs, { target: 'integer', ...settings });
  const solved = roundToNearest(model.graph, plan, 'range');
  const types = await inferValueTypes(model);
  const input = { graph: model.graph, plan, solved, types, opset: opsetOf(model) };
  const lowered = await lowerToIntegers(input);
  return { lowered, model: writeIntegerModel(model, lowered), plan };
}

/** The plan with every activation's range as seen on one batch; tied activations share theirs. */
export async function planObserved(
  model: Model,
  inputs: Readonly<Record<string, Tensor>>,
  settings: Partial<PlanSettings>,
): Promise<Plan> {
  const skeleton = await planFixed(model, settings);
  const names = [...new Set(Object.values(skeleton.activations).map((a) => a.value))];
  const seen = await runModel(
    withOutputs(
      model,
      names.filter((name) => !(name in inputs)),
    ),
    inputs,
  );
  const ranges = new Map<string, { low: number; high: number }>();
  for (const { value, tie } of Object.values(skeleton.activations)) {
    const data = seen.get(value) ?? toFloat32(inputs[value]!);
    const { low, high } = sampleRange({ values: data });
    const known = ranges.get(tie) ?? { low: 0, high: 0 };
    ranges.set(tie, { low: Math.min(low, known.low), high: Math.max(high, known.high) });
  }
  const activations = Object.entries(skeleton.activations).map(([id, a]) => {
    const options = { symmetric: isSymmetric(a.format) };
    const { scale, zeroPoint } = parametersForRange(parseFormat(a.format), ranges.get(a.tie)!, options);
    return [id, { ...a, scale: [scale], zeroPoint: [zeroPoint] }] as const;
  });
  return guardBiases({ ...skeleton, activations: Object.fromEntries(activations) }, model.graph);
}

export function randomInput(dims: readonly number[], seed = 7, spread = 1.5): Tensor<'float32'> {
  const rng = createRng(seed);
  return tensor(
    'float32',
    dims,
    Float32Array.from({ length: sizeOf(dims) }, () => spread * rng.normal()),
  );
}

/** Outputs of a model in the runtime, unoptimized or optimized. */
export async function runModel(
  model: Model,
  inputs: Readonly<Record<string, Tensor>>,
  optimization: 'none' | 'all' = 'all',
): Promise<Map<string, Float32Array>> {
  const session = await openSession(model, { optimization, threads: 1 });
  const outputs = await session.run(inputs);
  await session.release();
  return new Map([...outputs].map(([name, t]) => [name, toFloat32(t)]));
}

/** Outputs of the interpreter and of the runtime at both optimization levels. */
export async function runBoth(
  { lowered, model }: IntegerModel,
  inputs: Readonly<Record<string, Tensor>>,
): Promise<{ interpreted: Float32Array; plain: Float32Array; optimized: Float32Array }[]> {
  const { outputs } = interpret(lowered.program, new Map(Object.entries(inputs)));
  const plain = await runModel(model, inputs, 'none');
  const optimized = await runModel(model, inputs, 'all');
  return [...outputs].map(([name, t]) => ({
    interpreted: toFloat32(t),
    plain: plain.get(name) ?? new Float32Array(0),
    optimized: optimized.get(name) ?? new Float32Array(0),
  }));
}
