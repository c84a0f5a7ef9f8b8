/** Calibration as a program: statistics of every value that any preset could need, collected once. */
import {
  collect,
  hashModel,
  mergeStatistics,
  readStatistics,
  writeStatistics,
  type CollectOptions,
  type Statistics,
} from '../calibrate/index.js';
import { feedInputs } from '../onnx/index.js';
import { FxqError, checkOutputs, type Context } from '../core/index.js';
import { openDataSet, type DataSpec } from '../data/index.js';
import { DEFAULT_SETTINGS, TARGETS, planQuantization } from '../plan/index.js';
import { LEAST_OPSET, loadModel, type LoadedModel } from './load-model.js';

/** Where statistics come from. Data beside them help to choose between range methods. */
export type StatisticsSource =
  | { readonly kind: 'file'; readonly path: string; readonly spec?: DataSpec }
  | { readonly kind: 'known'; readonly statistics: Statistics; readonly spec: DataSpec }
  | { readonly kind: 'data'; readonly spec: DataSpec };

export interface CalibrateRequest {
  readonly model: string;
  readonly data: DataSpec;
  readonly shard?: { readonly index: number; readonly count: number };
  readonly out: string;
}

/**
 * Runs a model over calibration data and writes what it saw.
 *
 * @throws FxqError for input that cannot be used; nothing is written then
 */
export async function calibrate(request: CalibrateRequest, ctx: Context): Promise<Statistics> {
  checkOutputs(
    [request.out],
    [
      ['the float model', request.model],
      ['the calibration data', request.data.path],
    ],
  );
  const loaded = await loadModel(request.model, LEAST_OPSET, ctx);
  for (const note of loaded.notes) ctx.note(note);
  const options = request.shard === undefined ? {} : { shard: request.shard };
  const values = valuesOfAnyPlan(loaded);
  if (values.length === 0) {
    throw new FxqError(
      'E_UNSUPPORTED',
      `${request.model}: nothing in its main graph is quantized ahead of time`,
      [
        'Its weights and run-time activations need no calibration: use fxq quantize --preset dynamic or weight-only.',
      ],
    );
  }
  const statistics = await observe(loaded, request.data, values, ctx, options);
  writeStatistics(statistics, request.out);
  return statistics;
}

/** Joins the statistics of shards and writes them. */
export function mergeFiles(files: readonly string[], out: string): Statistics {
  checkOutputs(
    [out],
    files.map((file) => ['the statistics', file]),
  );
  const merged = mergeStatistics(files.map((file) => readStatistics(file)));
  writeStatistics(merged, out);
  return merged;
}

/**
 * Statistics of these values: from a file, when it belongs to the model and holds them all, or from data.
 *
 * @throws FxqError E_STATISTICS for a file of another model, of a part of the data, or without some value
 */
export async function statisticsFrom(
  loaded: LoadedModel,
  source: StatisticsSource,
  values: readonly string[],
  ctx: Context,
): Promise<Statistics> {
  if (source.kind === 'data') return observe(loaded, source.spec, values, ctx);
  const path = source.kind === 'file' ? source.path : 'the run before';
  const statistics = source.kind === 'file' ? readStatistics(source.path) : source.statistics;
  requireSameModel(statistics, loaded, path);
  requireWhole(statistics, path);
  const missing = values.find((value) => !statistics.tensors.has(value));
  if (missing === undefined) return statistics;
  throw new FxqError('E_STATISTICS', `${path} holds no statistics of '${missing}'`, [
    'These settings need it: give --data instead of --calibration.',
  ]);
}

function requireSameModel({ modelHash }: Statistics, loaded: LoadedModel, file: string): void {
  if (modelHash === hashModel(loaded.source)) return;
  throw new FxqError('E_STATISTICS', `${file} was calibrated on another model`, 'Calibrate this model.');
}

function requireWhole({ shards }: Statistics, file: string): void {
  if (shards === undefined) return;
  const seen = shards.indices.map((i) => i + 1).join(', ');
  throw new FxqError('E_STATISTICS', `${file} holds shard ${seen} of ${shards.count} only`, [
    'Merge all shards first: fxq merge PART… --out FILE.',
  ]);
}

/** One run over the data; statistics belong to the model as the user gave it. */
async function observe(
  loaded: LoadedModel,
  spec: DataSpec,
  values: readonly string[],
  ctx: Context,
  options: CollectOptions = {},
): Promise<Statistics> {
  const data = await openDataSet(spec, feedInputs(loaded.model.graph), ctx);
  const statistics = await collect(loaded.model, data, values, ctx, options);
  return { ...statistics, modelHash: hashModel(loaded.source) };
}

/** Values that the default settings of some target quantize, also those that share the parameters of another. */
export function valuesOfAnyPlan({ model, types }: LoadedModel): string[] {
  const values = Object.keys(TARGETS).flatMap((target) => {
    const { activations } = planQuantization(model, types, { ...DEFAULT_SETTINGS, target });
    return Object.values(activations).map((a) => a.value);
  });
  return [...new Set(values)].sort();
}
