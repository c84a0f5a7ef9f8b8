/** The program behind `fxq report`: what the quantized model costs and gains against the float one, and its gates. */
import { existsSync, statSync } from 'node:fs';
import { basename } from 'node:path';
import { FxqError, didYouMean, readInput, sha256, type Context, type Note } from '../core/index.js';
import { hashModel } from '../calibrate/index.js';
import { type ReportSettings } from '../config/index.js';
import { openDataSet, readLabels, selectLabels, type DataSet, type Labels } from '../data/index.js';
import { tablePath, type IntegerTable } from '../emit/index.js';
import { auditKernels, openSession, runtimeVersion, type Batch } from '../engine/index.js';
import { feedInputs, opsetOf, readModel, type Model } from '../onnx/index.js';
import {
  SCHEMA_VERSION,
  checkGates,
  compareSizes,
  compareWithBaseline,
  evaluate,
  isSparsity,
  loadMetric,
  measureLatency,
  measureLayers,
  measurePatterns,
  observeTensors,
  valueNamed,
  patternsAskedFor,
  quantities,
  readBaseline,
  type BaselineDelta,
  type Evaluation,
  type LabelledBatch,
  type LatencyResult,
  type Measured,
  type Metric,
  type ModelFacts,
  type ReportResult,
} from '../report/index.js';
import { measureSparsity, savedMacs, zerosRead } from './activation-sparsity.js';
import { LEAST_OPSET, loadModel } from './load-model.js';
import { formatPattern, readSidecar } from '../solve/index.js';
import { fxqVersion, manifestPath, readManifest } from './manifest.js';
import { sidecarPath } from './sparse.js';

/** Samples in one run when outputs are compared. */
const BATCH = 32;

export interface ReportOptions {
  /** Milliseconds since any fixed moment; without it latency is not measured. */
  readonly clock?: () => number;
}

/** A model with the file it came from. */
interface ModelFile {
  readonly path: string;
  readonly model: Model;
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
  const latency = await latencyOf(float, quantized, data, settings, options, noting);
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
    ...weightsBeside(quantized),
    ...distillationBeside(quantized),
    tensors,
    ...transformsBeside(quantized),
    ...evidenceBeside(quantized),
    ...(deltas === undefined ? {} : { baseline: deltas }),
    notes,
    gates,
    passed: gates.every((gate) => gate.passed || gate.level === 'warn'),
  };
}

/** Sparsity of activations, on the prepared float model, whose values the quantized one shares. */
async function activationsOf(
  { float, data, activationSparsity: target }: ReportSettings,
  quantized: Model,
  ctx: Context,
): Promise<Measured['activations']> {
  if (target === undefined) return undefined;
  const loaded = await loadModel(float, LEAST_OPSET, ctx);
  const { found, ...network } = await measureSparsity(loaded, target, data, ctx);
  const zeros = await zerosRead(
    quantized,
    found.map((site) => site.layer),
    data,
    ctx,
  );
  const sites = network.sites.map((site) => ({ ...site, zeros: zeros.get(site.node) ?? 0 }));
  const quantizedMacs = zeros.size === 0 ? {} : { quantized: savedMacs(loaded, { ...network, sites }).zeros };
  return {
    ...network,
    target,
    predictedSavedMacs: { ...savedMacs(loaded, network), ...quantizedMacs },
    ...(zeros.size === 0 ? {} : { quantizedZeros: Object.fromEntries(zeros) }),
  };
}

/** Accumulator widths from the table beside an integer model; nothing for other models. */
function accumulatorsBeside(quantized: string): Pick<Measured, 'accumulators'> {
  const path = tablePath(quantized);
  if (!existsSync(path)) return {};
  const { accumulators } = JSON.parse(readInput(path, 'table').toString('utf8')) as IntegerTable;
  return { accumulators };
}

/** What solvers did, from the manifest beside a model, unless the model has changed since. */
function weightsBeside({ path, model }: ModelFile): Pick<ReportResult, 'weights'> {
  const file = manifestPath(path);
  if (!existsSync(file)) return {};
  const { hashes, weights } = readManifest(file);
  const order = new Map(model.graph.nodes.map(({ name }, i) => [name, i]));
  const reports = Object.values(weights).sort((a, b) => (order.get(a.node) ?? 0) - (order.get(b.node) ?? 0));
  return reports.length === 0 || hashes.output !== hashModel(model) ? {} : { weights: reports };
}

/** What the manifest beside a model says was done before; nothing when it belongs to another model. */
function transformsBeside({ path, model }: ModelFile): Pick<ReportResult, 'transforms'> {
  const file = manifestPath(path);
  if (!existsSync(file)) return {};
  const { equalization, permutation, biases, hashes } = readManifest(file);
  const isPlain = equalization === undefined && permutation === undefined && biases === undefined;
  if (isPlain || hashes.output !== hashModel(model)) return {};
  return {
    transforms: {
      ...(equalization === undefined ? {} : { equalization }),
      ...(permutation === undefined ? {} : { permutation }),
      ...(biases === undefined ? {} : { biases: Object.values(biases) }),
    },
  };
}

/** What the manifest beside the model says about its number formats, when it is the manifest of this very model. */
function evidenceBeside({ path, model }: ModelFile): Pick<ReportResult, 'evidence'> {
  const file = manifestPath(path);
  if (!existsSync(file)) return {};
  const { formats, hashes } = readManifest(file);
  return formats === undefined || hashes.output !== hashModel(model) ? {} : { evidence: formats };
}

/** Weights under the patterns that gates ask about, and under those of the packed weights beside the model. */
async function sparsityOf(
  { path, model }: ModelFile,
  { gates }: ReportSettings,
): Promise<Pick<Measured, 'sparsity'>> {
  const packed = sidecarPath(path);
  const written = existsSync(packed)
    ? readSidecar(packed).map((weight) => formatPattern(weight.packed.pattern))
    : [];
  const patterns = [...patternsAskedFor(gates.map((gate) => gate.quantity)), ...written];
  return patterns.length === 0 ? {} : { sparsity: await measurePatterns(model, patterns) };
}

/** What distillation changed, when the manifest beside the model is of this very model. */
function distillationBeside({ path, model }: ModelFile): Pick<ReportResult, 'distillation'> {
  const beside = manifestPath(path);
  if (!existsSync(beside)) return {};
  const { distillation, hashes } = readManifest(beside);
  return distillation === undefined || hashes.output !== hashModel(model) ? {} : { distillation };
}

/** Labels without a metric ask for top-1. */
async function loadMetrics({ metrics, labels }: ReportSettings): Promise<Metric[]> {
  const names = metrics.length === 0 && labels !== undefined ? ['top1'] : metrics;
  const loaded = await Promise.all(names.map(loadMetric));
  const unlabelled = loaded.find((metric) => metric.needsLabels);
  if (labels === undefined && unlabelled !== undefined) {
    throw new FxqError(
      'E_USAGE',
      `the metric ${unlabelled.name} needs labels`,
      'Give them with --labels FILE.',
    );
  }
  const taken = loaded.find((metric, i) => SECTIONS.includes(metric.name) || names.indexOf(metric.name) > i);
  if (taken !== undefined)
    throw new FxqError(
      'E_USAGE',
      `the metric name '${taken.name}' is taken`,
      'Give the metric another name.',
    );
  return loaded;
}

/** First words of quantities that are no metrics. */
const SECTIONS = [
  'sqnr',
  'cosine',
  'kl',
  'agreement',
  'output',
  'size',
  'latency',
  'layer',
  'layers',
  'kernels',
  'accumulator',
  'activations',
  'sparsity',
  'delta',
];

/** A misspelt gate should not cost a whole evaluation. */
function checkGateNames({ gates }: ReportSettings, metrics: readonly Metric[]): void {
  const known = [...metrics.map((metric) => metric.name), ...SECTIONS];
  for (const { text, quantity } of gates) {
    const [first = ''] = quantity.split('.');
    if (known.includes(first) || isSparsity(first)) continue;
    throw new FxqError('E_USAGE', `the gate '${text}' speaks of '${first}', which is not measured`, [
      ...[didYouMean(first, known)].filter((s) => s !== ''),
      `What is measured begins with ${known.join(', ')}, or a pattern such as 2:4.`,
    ]);
  }
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

async function evaluateModels(
  float: ModelFile,
  quantized: ModelFile,
  data: DataSet,
  labels: Labels | undefined,
  metrics: readonly Metric[],
  { scores }: ReportSettings,
  ctx: Context,
): Promise<Evaluation> {
  const a = await openSession(float.path, { threads: ctx.threads });
  const b = await openSession(quantized.path, { threads: ctx.threads });
  try {
    const batches = withLabels(data.batches(BATCH), labels);
    const options = {
      metrics,
      carry: data.carry,
      samples: data.samples,
      ...(scores === undefined ? {} : { scores }),
    };
    return await evaluate(a, b, batches, options, ctx);
  } finally {
    await Promise.all([a.release(), b.release()]);
  }
}

async function measureValues(
  float: Model,
  quantized: Model,
  data: DataSet,
  settings: ReportSettings,
  ctx: Context,
): Promise<Pick<ReportResult, 'layers' | 'tensors'>> {
  if (settings.layers === 0) {
    if (settings.tensors.length === 0) return { layers: [], tensors: [] };
    throw new FxqError(
      'E_USAGE',
      'histograms come from the samples of --layers, which is 0',
      'Give --layers N.',
    );
  }
  const wanted = settings.tensors.map((name) => valueNamed(float.graph, name));
  const observer = observeTensors(quantized.graph, wanted);
  const options = {
    samples: Math.min(settings.layers, data.samples),
    carry: data.carry,
    observe: observer.observe,
  };
  const layers = await measureLayers(float, quantized, data.batches(1), options, ctx);
  return { layers, tensors: observer.results(layers) };
}

async function* withLabels(
  batches: AsyncIterable<Batch>,
  labels: Labels | undefined,
): AsyncGenerator<LabelledBatch> {
  for await (const batch of batches) {
    const positions = Array.from({ length: batch.count }, (_, i) => batch.first + i);
    yield { ...batch, labels: labels === undefined ? undefined : selectLabels(labels, positions) };
  }
}

async function latencyOf(
  float: ModelFile,
  quantized: ModelFile,
  data: DataSet,
  { latency: runs }: ReportSettings,
  { clock }: ReportOptions,
  ctx: Context,
): Promise<LatencyResult | undefined> {
  if (runs === 0 || clock === undefined) return undefined;
  const a = await openSession(float.path, { threads: ctx.threads });
  const b = await openSession(quantized.path, { threads: ctx.threads });
  try {
    for await (const { inputs, count } of data.batches(1, 0, data.batchSize(1))) {
      const times = await measureLatency(a, b, inputs, { runs, clock }, ctx);
      const ratio = times.quantized.median / times.float.median;
      if (times.quantized.low > times.float.high) {
        ctx.note({
          level: 'warn',
          code: 'slower-than-float',
          message: `the quantized model takes ${ratio.toFixed(2)} times as long as the float one on this machine`,
        });
      }
      return { ...times, batch: count, threads: ctx.threads };
    }
    return undefined;
  } finally {
    await Promise.all([a.release(), b.release()]);
  }
}

function withDeltas(
  measured: ReturnType<typeof quantities>,
  deltas: readonly BaselineDelta[],
): ReturnType<typeof quantities> {
  const all = new Map(measured);
  for (const { quantity, before, after, unit } of deltas)
    all.set(`delta.${quantity}`, { value: after - before, unit });
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
