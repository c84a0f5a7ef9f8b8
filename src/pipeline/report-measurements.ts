/** What a report measures by running both models. */
import { FxqError, type Context } from '../core/index.js';
import { type ReportSettings } from '../config/index.js';
import { selectLabels, type DataSet, type Labels } from '../data/index.js';
import { openSession, type Batch } from '../engine/index.js';
import { type Model } from '../onnx/index.js';
import {
  evaluate,
  measureLatency,
  measureLayers,
  observeTensors,
  valueNamed,
  type Evaluation,
  type LabelledBatch,
  type LatencyResult,
  type Measured,
  type Metric,
  type ReportResult,
} from '../report/index.js';
import { measureSparsity, savedMacs, zerosRead } from './activation-sparsity.js';
import { type ModelFile } from './beside-model.js';
import { LEAST_OPSET, loadModel } from './load-model.js';

/** Samples in one run when outputs are compared. */
const BATCH = 32;

/** Outputs of both models, and their metrics. */
export async function evaluateModels(
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

async function* withLabels(
  batches: AsyncIterable<Batch>,
  labels: Labels | undefined,
): AsyncGenerator<LabelledBatch> {
  for await (const batch of batches) {
    const positions = Array.from({ length: batch.count }, (_, i) => batch.first + i);
    yield { ...batch, labels: labels === undefined ? undefined : selectLabels(labels, positions) };
  }
}

/**
 * Errors by layer, and histograms of chosen values.
 *
 * @throws FxqError E_USAGE for values that no sample is run for
 */
export async function measureValues(
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

/** Sparsity of activations, on the prepared float model, whose values the quantized one shares. */
export async function activationsOf(
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

/** Times of interleaved runs; nothing without a clock. */
export async function latencyOf(
  float: ModelFile,
  quantized: ModelFile,
  data: DataSet,
  { latency: runs }: ReportSettings,
  clock: (() => number) | undefined,
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
