/** The program behind `fxq report`: what the quantized model costs and gains against the float one, and its gates. */
import { statSync } from 'node:fs';
import { basename } from 'node:path';
import { readInput, sha256, type Context, type Note } from '../core/index.js';
import { type ReportSettings } from '../config/index.js';
import { openDataSet, readLabels, type DataSet } from '../data/index.js';
import { auditKernels, runtimeVersion } from '../engine/index.js';
import { feedInputs, opsetOf, readModel } from '../onnx/index.js';
import {
  SCHEMA_VERSION,
  checkGates,
  compareSizes,
  compareWithBaseline,
  measurePatterns,
  patternsAskedFor,
  quantities,
  readBaseline,
  unitOfDifferences,
  type BaselineDelta,
  type Measured,
  type ModelFacts,
  type ReportResult,
} from '../report/index.js';
import { accumulatorsBeside, packedPatterns, recordedBeside, type ModelFile } from './beside-model.js';
import { fxqVersion } from './manifest.js';
import { activationsOf, evaluateModels, latencyOf, measureValues } from './report-measurements.js';
import { checkGateNames, loadMetrics } from './report-metrics.js';

export interface ReportOptions {
  /** Milliseconds since any fixed moment; without it latency is not measured. */
  readonly clock?: () => number;
}

/**
 * Compares a quantized model with the float model it was made from.
 *
 * @throws FxqError for models, data, labels and metrics that cannot be used, and for gates on what was not measured;
 *   a failed gate is no error but `passed: false`
 */
export async function report(
  settings: ReportSettings,
  ctx: Context,
  options: ReportOptions = {},
): Promise<ReportResult> {
  const notes: Note[] = [];
  const noting: Context = {
    ...ctx,
    note: (note) => {
      notes.push(note);
      ctx.note(note);
    },
  };
  const float: ModelFile = { path: settings.float, model: readModel(settings.float) };
  const quantized: ModelFile = { path: settings.quantized, model: readModel(settings.quantized) };
  const baseline = settings.baseline === undefined ? undefined : readBaseline(settings.baseline);
  const metrics = await loadMetrics(settings);
  checkGateNames(settings, metrics);
  const data = await openDataSet(settings.data, feedInputs(float.model.graph), noting);
  const labels = settings.labels === undefined ? undefined : readLabels(settings.labels, data);
  warnAboutData(data, noting);

  const evaluation = await evaluateModels(float, quantized, data, labels, metrics, settings, noting);
  const { layers, tensors } = await measureValues(float.model, quantized.model, data, settings, noting);
  const activations = await activationsOf(settings, quantized.model, noting);
  const latency = await latencyOf(float, quantized, data, settings, options.clock, noting);
  const kernels = await auditKernels(quantized.model);
  const size = compareSizes(storedModel(float), storedModel(quantized));

  const measured: Measured = {
    ...evaluation,
    layers,
    size,
    kernels,
    ...(activations === undefined ? {} : { activations }),
    ...(latency === undefined ? {} : { latency }),
    ...accumulatorsBeside(settings.quantized),
    ...(await sparsityOf(quantized, settings)),
  };
  const deltas = baseline === undefined ? undefined : compareWithBaseline(measured, baseline);
  const gates = checkGates(settings.gates, withDeltas(quantities(measured), deltas ?? []));
  return {
    schemaVersion: SCHEMA_VERSION,
    fxq: fxqVersion(),
    onnxruntime: await runtimeVersion(),
    float: modelFacts(float),
    quantized: modelFacts(quantized),
    data: {
      source: settings.data.kind === 'random' ? 'random numbers' : basename(settings.data.path ?? ''),
      samples: data.samples,
      sha256: data.hash(),
      synthetic: data.synthetic,
    },
    ...measured,
    ...recordedBeside(quantized),
    tensors,
    ...(deltas === undefined ? {} : { baseline: deltas }),
    notes,
    gates,
    passed: gates.every((gate) => gate.passed || gate.level === 'warn'),
  };
}

/** Weights under the patterns that gates ask about, and under those of the packed weights beside the model. */
async function sparsityOf(
  { path, model }: ModelFile,
  { gates }: ReportSettings,
): Promise<Pick<Measured, 'sparsity'>> {
  const asked = patternsAskedFor(gates.map((gate) => gate.quantity));
  const sparsity = await measurePatterns(model, asked, packedPatterns(path));
  return sparsity.length === 0 ? {} : { sparsity };
}

function warnAboutData(data: DataSet, ctx: Context): void {
  if (!data.synthetic) return;
  ctx.note({
    level: 'warn',
    code: 'synthetic-data',
    message:
      'the data are random numbers or synthesized: distances and metrics say nothing about real inputs',
  });
}

function withDeltas(
  measured: ReturnType<typeof quantities>,
  deltas: readonly BaselineDelta[],
): ReturnType<typeof quantities> {
  const all = new Map(measured);
  for (const { quantity, before, after, unit } of deltas)
    all.set(`delta.${quantity}`, { value: after - before, unit: unitOfDifferences(unit) });
  return all;
}

function storedModel({ path, model }: ModelFile): Parameters<typeof compareSizes>[0] {
  const external = [...model.graph.initializers.values()].reduce(
    (sum, { source }) => sum + (source.kind === 'external' ? source.length : 0),
    0,
  );
  return { graph: model.graph, fileBytes: statSync(path).size + external };
}

function modelFacts({ path, model }: ModelFile): ModelFacts {
  return {
    file: basename(path),
    sha256: sha256(readInput(path, 'model')),
    opset: opsetOf(model),
    nodes: model.graph.nodes.length,
  };
}
