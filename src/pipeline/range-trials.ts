/** Trials of range methods: a model quantized by them, or one side of it, held against the float one. */
import { assignRanges, type RangeMethod, type RangeSettings, type Statistics } from '../calibrate/index.js';
import { type Context } from '../core/index.js';
import { openDataSet, type DataSpec } from '../data/index.js';
import { type SolvedWeights } from '../emit/index.js';
import { readAll, type Batch } from '../engine/index.js';
import { type FitMethod } from '../formats/index.js';
import { feedInputs, type Model } from '../onnx/index.js';
import { guardBiases, type Plan } from '../plan/index.js';
import { roundToNearest, withRoundedWeights } from '../solve/index.js';
import { type LoadedModel } from './load-model.js';
import { meanSqnr, runModel, simulate } from './output-quality.js';
import { withFloatWeights } from './solve-layers.js';

const SAMPLES = 64;
const BATCH = 8;

/** What of a model a trial quantizes. */
export type Side = 'both' | 'weights' | 'activations';

/** Quantizes a plan, or one side of it, with given methods, and says how close the outputs come. */
type Measure = (plan: Plan, method: RangeMethod, weightRange: FitMethod) => Promise<number>;

interface MeasureSettings {
  readonly settings: Omit<RangeSettings, 'method'>;
  readonly samples: RangeSamples;
  /** Weights that a solver rounds; on the side of activations, they stay float. */
  isSolved(weight: string): boolean;
}

/** What tries methods on some samples, by what of the model is quantized. */
export async function createMeasure(
  loaded: Pick<LoadedModel, 'model' | 'types'>,
  statistics: Statistics,
  { settings, samples: { batches, carry }, isSolved }: MeasureSettings,
  ctx: Context,
): Promise<Record<Side, Measure>> {
  const { model } = loaded;
  const reference = await runModel(model, batches, carry, ctx);
  const quiet = { ...ctx, note: () => undefined };
  const models: Record<Side, (plan: Plan, weights: SolvedWeights) => Model | Promise<Model>> = {
    both: (plan, weights) => simulate(loaded, plan, weights),
    weights: (plan, weights) => withRoundedWeights(model, plan, weights, () => true),
    activations: (plan, weights) =>
      withRoundedWeights(withFloatWeights(model, plan), plan, weights, (weight) => !isSolved(weight)),
  };
  const measureOf =
    (side: Side): Measure =>
    async (skeleton, method, weightRange) => {
      const ranged = assignRanges(skeleton, statistics, { ...settings, method }, quiet);
      const plan = guardBiases(ranged, model.graph);
      const weights = roundToNearest(model.graph, plan, weightRange);
      const candidate = await models[side](plan, weights);
      return meanSqnr(reference, await runModel(candidate, batches, carry, ctx));
    };
  return { both: measureOf('both'), weights: measureOf('weights'), activations: measureOf('activations') };
}

/** Samples that methods are compared on. */
export interface RangeSamples {
  readonly batches: readonly Batch[];
  readonly carry: ReadonlyMap<string, string>;
}

/** The samples that methods are compared on. */
export async function openRangeSamples(model: Model, spec: DataSpec, ctx: Context): Promise<RangeSamples> {
  const data = await openDataSet(spec, feedInputs(model.graph), { ...ctx, note: () => undefined });
  const batches = await readAll(data.batches(BATCH, 0, Math.min(SAMPLES, data.samples)));
  return { batches, carry: data.carry };
}
