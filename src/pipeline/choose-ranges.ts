/** `auto` settings: the range methods whose quantized model comes closest to the float one on calibration samples. */
import {
  assignRanges,
  rangesByLayerError,
  type RangeChoice,
  type RangeMethod,
  type RangeSettings,
  type Statistics,
} from '../calibrate/index.js';
import { FxqError, checkAbort, type Context } from '../core/index.js';
import { openDataSet, type DataSpec } from '../data/index.js';
import { type Batch } from '../engine/index.js';
import { parseFormat, type FitMethod } from '../formats/index.js';
import { feedInputs, type Model } from '../onnx/index.js';
import { guardBiases, type Plan, type PlanSettings } from '../plan/index.js';
import { roundToNearest } from '../solve/index.js';
import { type LoadedModel } from './load-model.js';
import { meanSqnr, runModel, simulate } from './output-quality.js';

/** In order of preference: a later one must be better. */
const CANDIDATES: readonly RangeMethod[] = ['minmax', 'percentile', 'mse', 'entropy', 'layer-error'];
const SAMPLES = 64;
const BATCH = 8;

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
  /** The plan to assign ranges to: with those that layers chose, where the method is `layer-error`. */
  readonly plan: Plan;
}

/**
 * Settles what was left to measurement: first how weight scales are chosen, with nothing clipped, then the range method,
 * then the other way to choose weight scales once more. Only calibration samples are looked at, so held-out figures stay
 * honest.
 *
 * @param spec calibration data; without it `auto` means `minmax` and `range`, and a note says so
 * @throws FxqError E_USAGE for `layer-error` without data
 */
export async function chooseRanges(
  loaded: Pick<LoadedModel, 'model' | 'types'>,
  skeleton: Plan,
  statistics: Statistics,
  wishes: RangeWishes,
  spec: DataSpec | undefined,
  ctx: Context,
): Promise<Choice> {
  const { method, ...rest } = wishes.ranges;
  const { weightRange } = wishes;
  const { model } = loaded;
  if (spec === undefined) return withoutData(skeleton, wishes, ctx);
  const samples = await firstBatches(model, spec, ctx);
  const layered = once(() => planByLayers(model, skeleton, statistics, samples, ctx));
  const planFor = (candidate: RangeMethod): Promise<Plan> =>
    candidate === 'layer-error' ? layered() : Promise.resolve(skeleton);
  if (method !== 'auto' && weightRange !== 'auto')
    return { ranges: { ...rest, method }, weightRange, trials: [], plan: await planFor(method) };
  const methods = method === 'auto' ? CANDIDATES : [method];
  const [first, ...others] = methods as [RangeMethod, ...RangeMethod[]];
  const ways: readonly FitMethod[] = weightRange === 'auto' ? ['range', 'mse'] : [weightRange];
  const progress = ctx.start('Choosing range methods', methods.length + 2 * (ways.length - 1));
  const measure = await createMeasure(loaded, statistics, rest, samples, ctx);
  const trials: Trial[] = [];
  const run = async (candidate: RangeMethod, weights: FitMethod): Promise<void> => {
    if (trials.some((t) => t.method === candidate && t.weightRange === weights)) return;
    checkAbort(ctx);
    const sqnr = await measure(await planFor(candidate), candidate, weights);
    trials.push({ method: candidate, weightRange: weights, sqnr });
    progress.update(trials.length);
  };
  for (const way of ways) await run(first, way);
  const { weightRange: leading } = bestOf(trials);
  for (const candidate of others) await run(candidate, leading);
  for (const way of ways) await run(bestOf(trials).method, way);
  const best = bestOf(trials);
  const tried = trials.map(
    (t) => `${t.method}${t.weightRange === 'mse' ? ', weights mse' : ''} ${t.sqnr.toFixed(1)} dB`,
  );
  progress.finish(`Ranges by ${best.method}, weight scales by ${best.weightRange} (${tried.join('; ')})`);
  return {
    ranges: { ...rest, method: best.method },
    weightRange: best.weightRange,
    trials,
    plan: await planFor(best.method),
  };
}

/** What can be settled from statistics alone. */
function withoutData(plan: Plan, { ranges, weightRange, plan: settings }: RangeWishes, ctx: Context): Choice {
  if (ranges.method === 'layer-error') {
    throw new FxqError('E_USAGE', 'ranges by layer-error need data, and a statistics file alone was given', [
      'Give --data PATH beside --calibration, or another --method.',
    ]);
  }
  if (ranges.method === 'auto') {
    const message =
      'ranges are minmax: choosing between methods needs data, and a statistics file alone was given';
    ctx.note({ level: 'info', code: 'range-method', message });
  }
  return {
    ranges: { ...ranges, method: ranges.method === 'auto' ? 'minmax' : ranges.method },
    weightRange: weightRange === 'auto' ? unmeasuredWeightRange(settings.weights) : weightRange,
    trials: [],
    plan,
  };
}

function once<T>(make: () => Promise<T>): () => Promise<T> {
  let made: Promise<T> | undefined;
  return () => (made ??= make());
}

/** Ranges by layer error, on the first half of the samples that methods are compared on. */
function planByLayers(
  model: Model,
  skeleton: Plan,
  statistics: Statistics,
  { batches, carry }: Samples,
  ctx: Context,
): Promise<Plan> {
  const half = batches.slice(0, Math.max(1, Math.ceil(batches.length / 2)));
  return rangesByLayerError(model, skeleton, statistics, half, carry, ctx);
}

/** Clipping pays where steps are coarse; at 8 bits, the largest weights matter more. */
export function unmeasuredWeightRange(format: string): FitMethod {
  return format === 'float' || parseFormat(format).bits >= 8 ? 'range' : 'mse';
}

function bestOf(trials: readonly Trial[]): Trial {
  return trials.reduce((a, b) => (b.sqnr > a.sqnr ? b : a));
}

/** A function that quantizes a plan with given methods and says how close the outputs come. */
async function createMeasure(
  loaded: Pick<LoadedModel, 'model' | 'types'>,
  statistics: Statistics,
  settings: Omit<RangeSettings, 'method'>,
  { batches, carry }: Samples,
  ctx: Context,
): Promise<(plan: Plan, method: RangeMethod, weightRange: FitMethod) => Promise<number>> {
  const { model } = loaded;
  const reference = await runModel(model, batches, carry, ctx);
  const quiet = { ...ctx, note: () => undefined };
  return async (skeleton, method, weightRange) => {
    const ranged = assignRanges(skeleton, statistics, { ...settings, method }, quiet);
    const plan = guardBiases(ranged, model.graph);
    const weights = roundToNearest(model.graph, plan, weightRange);
    const candidate = await simulate(loaded, plan, weights);
    return meanSqnr(reference, await runModel(candidate, batches, carry, ctx));
  };
}

/** Samples that methods are compared on. */
interface Samples {
  readonly batches: readonly Batch[];
  readonly carry: ReadonlyMap<string, string>;
}

async function firstBatches(model: Model, spec: DataSpec, ctx: Context): Promise<Samples> {
  const data = await openDataSet(spec, feedInputs(model.graph), { ...ctx, note: () => undefined });
  const batches: Batch[] = [];
  for await (const batch of data.batches(BATCH, 0, Math.min(SAMPLES, data.samples))) batches.push(batch);
  return { batches, carry: data.carry };
}
