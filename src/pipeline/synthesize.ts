/** Calibration data without data: inputs made from the batch normalizations of a model, written as an archive. */
import { hashModel } from '../calibrate/index.js';
import { type SynthesizeSettings } from '../config/index.js';
import { FxqError, checkOutputs, writeOutput, type Context } from '../core/index.js';
import {
  constantDims,
  fillWithValue,
  modelInput,
  refuseUnknownInputs,
  type ModelInput,
} from '../data/index.js';
import { inferValueTypes } from '../engine/index.js';
import {
  describeNode,
  feedInputs,
  intAttribute,
  readModel,
  value,
  withGraph,
  type Model,
} from '../onnx/index.js';
import { GRADIENT_OPSET } from '../program/index.js';
import { raiseOpset, prepare } from '../rewrite/index.js';
import {
  normalizedValues,
  reaches,
  synthesizeInputs,
  type BatchLoss,
  type SearchProblem,
  type SoughtInput,
} from '../solve/index.js';
import { sizeOf, tensor, writeNpz, type Tensor } from '../tensor/index.js';
import { fxqVersion } from './manifest.js';

export interface SynthesizeResult {
  readonly samples: number;
  readonly batch: number;
  /** Batch normalizations whose statistics were matched. */
  readonly layers: number;
  /** Inputs that were made, with the deviation of the noise that each started from. */
  readonly inputs: Readonly<Record<string, { readonly dims: readonly number[]; readonly scale: number }>>;
  readonly losses: readonly BatchLoss[];
}

/** Passes that merge batch normalizations into layers, after which their statistics are gone. */
const FOLDING = { 'fold-affine': false, 'batchnorm-to-conv': false } as const;

/** Statistics of fewer samples than this are those of single samples. */
const FEW_SAMPLES = 8;

/**
 * Makes samples on which the batch normalizations of a model see what they saw in training, and writes them.
 *
 * @throws FxqError E_UNSUPPORTED for a model without stored statistics, an input that is not float, or an operator
 *   without gradient (naming it); nothing is written then
 */
export async function synthesize(settings: SynthesizeSettings, ctx: Context): Promise<SynthesizeResult> {
  checkOutputs([settings.out], [['the float model', settings.model]]);
  const source = readModel(settings.model);
  requireStatistics(source, settings.model);
  refuseUnknownInputs(settings.inputs, feedInputs(source.graph));
  const inputs = feedInputs(source.graph).map((v) => modelInput(v, settings.inputs[v.name]));
  const size = batchSize(inputs, settings);
  const { sought, given } = await divideInputs(inputs, size, settings);
  const { model, types, normalized } = await normalizedModel(source, [...sought, ...given], settings, ctx);
  const values = new Set(normalized.map((n) => n.value));
  for (const { name } of sought) if (!reaches(model.graph, name, values)) noteNoise(name, ctx);
  noteFewSamples(size, ctx);
  noteFolded(model, normalized.length, ctx);

  const { steps, rate, samples } = settings;
  const problem: SearchProblem = {
    model,
    types,
    normalized,
    inputs: sought,
    given: new Map(given.map(({ name, fixed }) => [name, fixed])),
    steps,
    rate,
  };
  const { arrays, losses, scales } = await synthesizeInputs(problem, Math.ceil(samples / size), ctx);
  const kept = new Map([...arrays].map(([name, t]) => [name, firstSamples(t, samples)]));
  const layers = normalized.length;
  const made = { by: `fxq synthesize ${fxqVersion()}`, model: hashModel(source), seed: ctx.seed };
  const record = { synthetic: { ...made, samples, batch: size, steps, rate, layers, losses } };
  writeOutput(settings.out, [writeNpz(kept, record)]);
  return {
    samples,
    batch: size,
    layers,
    inputs: Object.fromEntries(
      [...kept].map(([name, { dims }]) => [name, { dims, scale: scales.get(name) ?? 1 }]),
    ),
    losses,
  };
}

/** An input that is the same at every step. */
interface GivenInput extends SoughtInput {
  readonly fixed: Tensor;
}

/** Samples of a batch: what the model fixes, or what divides the samples evenly into as many batches as needed. */
function batchSize(inputs: readonly ModelInput[], { samples, batch }: SynthesizeSettings): number {
  const fixed = inputs.find((i) => i.fixedBatch !== undefined)?.fixedBatch;
  return fixed ?? Math.ceil(samples / Math.ceil(samples / batch));
}

/** Which inputs are looked for, and what the others hold. */
async function divideInputs(
  inputs: readonly ModelInput[],
  batch: number,
  { inputs: specs, known }: SynthesizeSettings,
): Promise<{ sought: SoughtInput[]; given: GivenInput[] }> {
  const sought: SoughtInput[] = [];
  const given: GivenInput[] = [];
  for (const input of inputs) {
    const { name, dtype } = input;
    const { value: number, derive, recurrent } = specs[name] ?? {};
    if (number !== undefined) {
      const samples = Array.from({ length: batch }, (_, i) => i);
      const fixed = await fillWithValue(input, number)(samples, new Map());
      given.push({ name, dims: fixed.dims, fixed });
      continue;
    }
    if (derive !== undefined || recurrent !== undefined)
      throw unsupported(
        name,
        `it is filled by ${derive ?? `output:${recurrent ?? ''}`}, and only numbers can stand beside what is made`,
      );
    if (dtype !== 'float32') throw unsupported(name, `it is ${dtype}, and gradients need float32`);
    if (input.sampleAxis !== 0) throw unsupported(name, 'its samples are not stacked on axis 0');
    const dims = [batch, ...constantDims(input)];
    sought.push({ name, dims, ...(known === undefined ? {} : { known }) });
  }
  if (sought.length === 0)
    throw new FxqError(
      'E_CONFIG',
      'every input of the model is given a number, so there is nothing to make',
      ['Leave --input out for the inputs that are to be made.'],
    );
  return { sought, given };
}

function unsupported(input: string, why: string): FxqError {
  return new FxqError('E_UNSUPPORTED', `input '${input}' cannot be made: ${why}`, [
    `Hold it at a number (--input '${input}=1'), or calibrate on real data.`,
  ]);
}

/** The model for inputs of one size, with its batch normalizations still in it. */
async function normalizedModel(
  source: Model,
  inputs: readonly (SoughtInput | GivenInput)[],
  { model: path }: SynthesizeSettings,
  ctx: Context,
): Promise<Pick<SearchProblem, 'model' | 'types' | 'normalized'>> {
  const progress = ctx.start('Preparing the model');
  const dtypeOf = (input: SoughtInput | GivenInput) => ('fixed' in input ? input.fixed.dtype : 'float32');
  const declared = new Map(
    inputs.map((input) => [input.name, value(input.name, dtypeOf(input), input.dims)]),
  );
  const sized = withGraph(source, {
    ...source.graph,
    inputs: source.graph.inputs.map((v) => declared.get(v.name) ?? v),
  });
  const raised = (await raiseOpset(sized, GRADIENT_OPSET)).model;
  const { model } = await prepare(raised, ctx, { passes: FOLDING });
  const types = await inferValueTypes(model);
  const normalized = normalizedValues(model.graph);
  progress.finish(`Found ${normalized.length} batch normalizations`);
  if (normalized.length === 0) throw nothingKnown(path);
  return { model, types, normalized };
}

/** @throws FxqError E_UNSUPPORTED for a model without batch normalizations, or with some that take no stored statistics */
function requireStatistics({ graph: { nodes } }: Model, path: string): void {
  const normalizations = nodes.filter(({ opType }) => opType === 'BatchNormalization');
  if (normalizations.length === 0) throw nothingKnown(path);
  const training = normalizations.find((node) => intAttribute(node, 'training_mode', 0) !== 0);
  if (training === undefined) return;
  throw new FxqError(
    'E_UNSUPPORTED',
    `${describeNode(training)} is in training mode: it normalizes by its batch, not by the statistics it has stored`,
    `Export the model for inference, with its normalizations kept: ${KEEP_NORMALIZATIONS}.`,
  );
}

const KEEP_NORMALIZATIONS =
  'in PyTorch, torch.onnx.export(model.eval(), …, dynamo=False, training=torch.onnx.TrainingMode.PRESERVE, do_constant_folding=False)';

function nothingKnown(path: string): FxqError {
  return new FxqError(
    'E_UNSUPPORTED',
    `${path} has no BatchNormalization with stored statistics, so it does not say what its training data were like`,
    [
      `Exporters fold them into the layers before. Export again with them kept: ${KEEP_NORMALIZATIONS}.`,
      'Without them: fxq quantize --preset dynamic or --preset weight-only needs no data.',
      'Or --random, which calibrates on noise and may be far off.',
    ],
  );
}

function noteNoise(input: string, ctx: Context): void {
  ctx.note({
    level: 'warn',
    code: 'synthesize-noise',
    message: `no BatchNormalization depends on input '${input}': its array is noise`,
  });
}

function noteFewSamples(batch: number, ctx: Context): void {
  if (batch >= FEW_SAMPLES) return;
  ctx.note({
    level: 'warn',
    code: 'synthesize-few-samples',
    message: `${batch} ${batch === 1 ? 'sample is' : 'samples are'} optimized together: each small batch is made as varied as all training data, and ranges come out narrow; use 32 (--batch, or a model with a free number of samples)`,
  });
}

function noteFolded({ graph: { nodes } }: Model, normalizations: number, ctx: Context): void {
  const convolutions = nodes.filter(({ opType }) => opType === 'Conv' || opType === 'ConvTranspose').length;
  if (2 * normalizations >= convolutions) return;
  ctx.note({
    level: 'warn',
    code: 'synthesize-folded',
    message: `${convolutions} convolutions and ${normalizations} BatchNormalization: the others were folded, and nothing is known of what they saw`,
  });
}

/** Batches of one size may make a few samples more than were asked for. */
function firstSamples(t: Tensor, count: number): Tensor {
  const [, ...sample] = t.dims;
  return tensor('float32', [count, ...sample], t.data.subarray(0, count * sizeOf(sample)));
}
