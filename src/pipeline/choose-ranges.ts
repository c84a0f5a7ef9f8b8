/** `auto` settings: the range methods whose quantized model comes closest to the float one on calibration samples. */
import {
  rangesByLayerError,
  type RangeChoice,
  type RangeMethod,
  type RangeSettings,
  type Statistics,
} from '../calibrate/index.js';
import { FxqError, checkAbort, required, type Context } from '../core/index.js';
import { type DataSpec } from '../data/index.js';
import { parseFormat, type FitMethod } from '../formats/index.js';
import { type Model } from '../onnx/index.js';
import { type Plan, type PlanSettings, type TensorQuantization } from '../plan/index.js';
import { isSolverName } from '../solve/index.js';
import { type LoadedModel } from './load-model.js';
import { hasQdqForm } from './output-quality.js';
import { createMeasure, openRangeSamples, type RangeSamples, type Side } from './range-trials.js';
import { solverOf } from './solve-layers.js';

/** In order of preference: a later one must be better. */
const CANDIDATES: readonly RangeMethod[] = ['minmax', 'percentile', 'mse', 'entropy', 'layer-error'];

/**
 * What competes where solvers round weights. They make up for most of what is clipped, not for coarse steps; unsolved
 * trials see both alike, and would choose too wide.
 */
const SOLVED_CANDIDATES: readonly RangeMethod[] = ['mse', 'layer-error'];

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
  readonly side: Side;
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
 * Settles what was left to measurement. Only calibration samples are looked at, so held-out figures stay honest.
 *
 * Where weights are rounded to nearest: first how their scales are chosen, with nothing clipped, then the range method,
 * then the other way to choose weight scales once more. Where solvers round them, weights and activations are tried
 * apart: few bits rounded to nearest lose so much that the ranges of activations could not be told apart, and solvers do
 * not lose it.
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
  const samples = await openRangeSamples(model, spec, ctx);
  const layered = once(() => planByLayers(model, skeleton, statistics, samples, ctx));
  const planFor = (candidate: RangeMethod): Promise<Plan> =>
    candidate === 'layer-error' ? layered() : Promise.resolve(skeleton);
  if (method !== 'auto' && weightRange !== 'auto')
    return { ranges: { ...rest, method }, weightRange, trials: [], plan: await planFor(method) };
  const isSolved = (name: string): boolean => {
    const weight = skeleton.weights[name];
    return weight !== undefined && isNarrow(weight) && isSolverName(solverOf(skeleton, name, true));
  };
  const isApart = Object.keys(skeleton.weights).some(isSolved) && hasQdqForm(skeleton);
  const candidates = isApart ? SOLVED_CANDIDATES : CANDIDATES;
  const methods = method === 'auto' ? candidates : [method];
  const ways: readonly FitMethod[] = weightRange === 'auto' ? ['range', 'mse'] : [weightRange];
  const measure = await createMeasure(loaded, statistics, { settings: rest, samples, isSolved }, ctx);
  const most = methods.length + (isApart ? ways.length : 2 * (ways.length - 1));
  const progress = ctx.start('Choosing range methods', most);
  const trials: Trial[] = [];
  const run: RunTrial = async (side, candidate, way) => {
    const known = trials.find((t) => t.side === side && t.method === candidate && t.weightRange === way);
    if (known !== undefined) return known;
    checkAbort(ctx);
    const sqnr = await measure[side](await planFor(candidate), candidate, way);
    const trial = { side, method: candidate, weightRange: way, sqnr };
    progress.update(trials.push(trial));
    return trial;
  };
  const best = await (isApart ? bestApart : bestTogether)(methods, ways, run);
  progress.finish(
    `Ranges by ${best.method}, weight scales by ${best.weightRange} (${trials.map(describeTrial).join('; ')})`,
  );
  return {
    ranges: { ...rest, method: best.method },
    weightRange: best.weightRange,
    trials,
    plan: await planFor(best.method),
  };
}

/** At 8 bits, rounding to nearest loses about as little as a solver. */
function isNarrow({ format }: TensorQuantization): boolean {
  return parseFormat(format).bits < 8;
}

/** Runs a trial, each once. */
type RunTrial = (side: Side, method: RangeMethod, weightRange: FitMethod) => Promise<Trial>;

async function bestTogether(
  methods: readonly RangeMethod[],
  ways: readonly FitMethod[],
  run: RunTrial,
): Promise<Trial> {
  const first = required(methods[0], 'a range method');
  let best = await bestOf(ways, (way) => run('both', first, way));
  const { weightRange } = best;
  best = await bestOf(methods, (method) => run('both', method, weightRange));
  const { method } = best;
  return bestOf([best.weightRange, ...ways], (way) => run('both', method, way));
}

async function bestApart(
  methods: readonly RangeMethod[],
  ways: readonly FitMethod[],
  run: RunTrial,
): Promise<Trial> {
  const first = required(methods[0], 'a range method');
  const { weightRange } = await bestOf(ways, (way) => run('weights', first, way));
  return bestOf(methods, (method) => run('activations', method, weightRange));
}

/** The first of the best, run in order. */
async function bestOf<T>(options: readonly T[], run: (option: T) => Promise<Trial>): Promise<Trial> {
  const trials: Trial[] = [];
  for (const option of options) trials.push(await run(option));
  return trials.reduce((a, b) => (b.sqnr > a.sqnr ? b : a));
}

function describeTrial({ side, method, weightRange, sqnr }: Trial): string {
  const both = weightRange === 'mse' ? `${method}, weights mse` : method;
  const what = { both, weights: `weights ${weightRange}`, activations: method }[side];
  return `${what} ${sqnr.toFixed(1)} dB`;
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
  { batches, carry }: RangeSamples,
  ctx: Context,
): Promise<Plan> {
  const half = batches.slice(0, Math.max(1, Math.ceil(batches.length / 2)));
  return rangesByLayerError(model, skeleton, statistics, half, carry, ctx);
}

/** Clipping pays where steps are coarse; at 8 bits, the largest weights matter more. */
export function unmeasuredWeightRange(format: string): FitMethod {
  return format === 'float' || parseFormat(format).bits >= 8 ? 'range' : 'mse';
}
