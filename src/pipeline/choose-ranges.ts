/** `auto` settings: the range methods whose quantized model comes closest to the float one on calibration samples. */
import {
  assignRanges,
  type RangeChoice,
  type RangeMethod,
  type RangeSettings,
  type Statistics,
} from '../calibrate/index.js';
import { checkAbort, required, type Context } from '../core/index.js';
import { openDataSet, type DataSpec } from '../data/index.js';
import { emitQdq } from '../emit/index.js';
import { createRunner, openSession, type Batch, type Session } from '../engine/index.js';
import { parseFormat, type FitMethod } from '../formats/index.js';
import { feedInputs, type Model } from '../onnx/index.js';
import { guardBiases, type Plan, type PlanSettings } from '../plan/index.js';
import { roundToNearest } from '../solve/index.js';
import { errorSums, sqnr, toFloat32, type Tensor } from '../tensor/index.js';

/** In order of preference: a later one must be better. */
const CANDIDATES: readonly RangeMethod[] = ['minmax', 'percentile', 'mse', 'entropy'];
const SAMPLES = 64;
const BATCH = 8;
/** dB that count as exact, so that one untouched output does not decide. */
const CEILING = 100;

/** How ranges are chosen, or `auto` for either. */
export interface RangeWishes {
  readonly ranges: RangeChoice;
  readonly weightRange: FitMethod | 'auto';
  readonly plan: PlanSettings;
}

/** How ranges are chosen. */
export interface ResolvedRanges {
  readonly ranges: RangeSettings;
  readonly weightRange: FitMethod;
}

export interface Trial {
  readonly method: RangeMethod;
  readonly weightRange: FitMethod;
  /** Mean over the outputs of the signal-to-noise ratio against the float model, in dB. */
  readonly sqnr: number;
}

export interface Choice extends ResolvedRanges {
  readonly trials: readonly Trial[];
}

/**
 * Settles what was left to measurement: first the range method, with weights covered whole, then how weight scales are
 * chosen. Only calibration samples are looked at, so held-out figures stay honest.
 *
 * @param spec calibration data; without it `auto` means `minmax` and `range`, and a note says so
 */
export async function chooseRanges(
  model: Model,
  skeleton: Plan,
  statistics: Statistics,
  wishes: RangeWishes,
  spec: DataSpec | undefined,
  ctx: Context,
): Promise<Choice> {
  const { method, ...rest } = wishes.ranges;
  const { weightRange } = wishes;
  if (method !== 'auto' && weightRange !== 'auto')
    return { ranges: { ...rest, method }, weightRange, trials: [] };
  if (spec === undefined) {
    const message =
      'ranges are minmax: choosing between methods needs data, and a statistics file alone was given';
    if (method === 'auto') ctx.note({ level: 'info', code: 'range-method', message });
    const ranges = { ...rest, method: method === 'auto' ? 'minmax' : method };
    return {
      ranges,
      weightRange: weightRange === 'auto' ? unmeasuredWeightRange(wishes.plan.weights) : weightRange,
      trials: [],
    };
  }
  const methods = method === 'auto' ? CANDIDATES : [method];
  const progress = ctx.start('Choosing range methods', methods.length + 1);
  const measure = await createMeasure(model, skeleton, statistics, rest, spec, ctx);
  const trials: Trial[] = [];
  const run = async (candidate: RangeMethod, weights: FitMethod): Promise<void> => {
    checkAbort(ctx);
    trials.push({ method: candidate, weightRange: weights, sqnr: await measure(candidate, weights) });
    progress.update(trials.length);
  };
  for (const candidate of methods) await run(candidate, weightRange === 'auto' ? 'range' : weightRange);
  const { method: chosen } = bestOf(trials);
  if (weightRange === 'auto') await run(chosen, 'mse');
  const best = bestOf(trials);
  const tried = trials.map(
    (t) => `${t.method}${t.weightRange === 'mse' ? ', weights mse' : ''} ${t.sqnr.toFixed(1)} dB`,
  );
  progress.finish(`Ranges by ${best.method}, weight scales by ${best.weightRange} (${tried.join('; ')})`);
  return { ranges: { ...rest, method: best.method }, weightRange: best.weightRange, trials };
}

/** Clipping pays where steps are coarse; at 8 bits, the largest weights matter more. */
export function unmeasuredWeightRange(format: string): FitMethod {
  return format === 'float' || parseFormat(format).bits >= 8 ? 'range' : 'mse';
}

function bestOf(trials: readonly Trial[]): Trial {
  return trials.reduce((a, b) => (b.sqnr > a.sqnr ? b : a));
}

/** A function that quantizes with given methods and says how close the outputs come. */
async function createMeasure(
  model: Model,
  skeleton: Plan,
  statistics: Statistics,
  settings: Omit<RangeSettings, 'method'>,
  spec: DataSpec,
  ctx: Context,
): Promise<(method: RangeMethod, weightRange: FitMethod) => Promise<number>> {
  const { batches, carry } = await firstBatches(model, spec, ctx);
  const runModel = async (candidate: Model): Promise<ReadonlyMap<string, Tensor>[]> => {
    const session = await openSession(candidate, { threads: ctx.threads });
    const results = await runAll(session, batches, carry);
    await session.release();
    return results;
  };
  const reference = await runModel(model);
  const quiet = { ...ctx, note: () => undefined };
  return async (method, weightRange) => {
    const ranged = assignRanges(skeleton, statistics, { ...settings, method }, quiet);
    const plan = guardBiases(ranged, model.graph);
    const weights = roundToNearest(model.graph, plan, weightRange);
    return meanSqnr(reference, await runModel(emitQdq(model, plan, weights)));
  };
}

async function firstBatches(
  model: Model,
  spec: DataSpec,
  ctx: Context,
): Promise<{ batches: Batch[]; carry: ReadonlyMap<string, string> }> {
  const data = await openDataSet(spec, feedInputs(model.graph), { ...ctx, note: () => undefined });
  const batches: Batch[] = [];
  for await (const batch of data.batches(BATCH, 0, Math.min(SAMPLES, data.samples))) batches.push(batch);
  return { batches, carry: data.carry };
}

/** Every floating-point output of every batch. */
async function runAll(
  session: Session,
  batches: readonly Batch[],
  carry: ReadonlyMap<string, string>,
): Promise<ReadonlyMap<string, Tensor>[]> {
  const names = session.outputs.filter((o) => o.dtype === 'float32').map((o) => o.name);
  const runner = createRunner(session, carry);
  const results: ReadonlyMap<string, Tensor>[] = [];
  for (const { inputs } of batches) results.push(await runner.run(inputs, names));
  return results;
}

function meanSqnr(
  reference: readonly ReadonlyMap<string, Tensor>[],
  outputs: readonly ReadonlyMap<string, Tensor>[],
): number {
  const names = [...(reference[0]?.keys() ?? [])];
  const each = names.map((name) => {
    const total = reference.reduce(
      (sums, batch, i) =>
        errorSums(
          toFloat32(required(batch.get(name), name)),
          toFloat32(required(outputs[i]?.get(name), name)),
          sums,
        ),
      errorSums([], []),
    );
    return Math.min(sqnr(total), CEILING);
  });
  return each.reduce((a, b) => a + b, 0) / Math.max(each.length, 1);
}
