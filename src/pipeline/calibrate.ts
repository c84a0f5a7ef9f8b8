/** Calibration as a program: statistics of every value that any preset could need, collected once. */
import { collect, readStatistics, writeStatistics, type Statistics } from '../calibrate/index.js';
import { FxqError, type Context } from '../core/index.js';
import { openDataSet, type DataSpec } from '../data/index.js';
import { DEFAULT_SETTINGS, TARGETS, planQuantization, valuesToCalibrate } from '../plan/index.js';
import { LEAST_OPSET, loadModel, type LoadedModel } from './load-model.js';
import { modelHash } from './model-hash.js';

/** Where statistics come from. */
export type StatisticsSource =
  { readonly kind: 'file'; readonly path: string } | { readonly kind: 'data'; readonly spec: DataSpec };

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
  const loaded = await loadModel(request.model, LEAST_OPSET, ctx);
  for (const note of loaded.notes) ctx.note(note);
  const statistics = await collectFrom(loaded, request.data, valuesOfAnyPlan(loaded), ctx, request.shard);
  writeStatistics(statistics, request.out);
  return statistics;
}

/** Values that the default settings of some target quantize. */
export function valuesOfAnyPlan({ model, types }: LoadedModel): string[] {
  const values = Object.keys(TARGETS).flatMap((target) =>
    valuesToCalibrate(planQuantization(model, types, { ...DEFAULT_SETTINGS, target })),
  );
  return [...new Set(values)].sort();
}
