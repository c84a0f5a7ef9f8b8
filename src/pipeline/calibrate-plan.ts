/** Scales of all activations of a plan: from statistics by ranges, as binary points, or by information content. */
import { assignRanges, type Statistics } from '../calibrate/index.js';
import { FxqError, type Context } from '../core/index.js';
import { type CalibratedRanges } from '../emit/index.js';
import { guardBiases, preferUnsigned, valuesToCalibrate, type Plan } from '../plan/index.js';
import { type BinaryPointEvidence, type FormatEvidence } from '../report/index.js';
import { chooseBinaryPoints } from './binary-points.js';
import { statisticsFrom } from './calibrate.js';
import { chooseRanges, unmeasuredWeightRange, type Choice } from './choose-ranges.js';
import { calibratedRanges } from './emission.js';
import { type LoadedModel } from './load-model.js';
import { type QuantizeRequest } from './quantize-request.js';
import { assignWordLengths } from './word-lengths.js';

export interface CalibratedPlan {
  readonly plan: Plan;
  readonly dataHash: string | null;
  readonly synthetic: boolean;
  readonly choice: Omit<Choice, 'plan'>;
  readonly evidence: FormatEvidence;
  /** Extremes seen, by activation id. */
  readonly ranges: CalibratedRanges;
}

/** Without activations there is nothing to measure. */
function withoutActivations({ weightRange, plan }: QuantizeRequest): Omit<Choice, 'plan'> {
  return {
    ranges: { method: 'minmax' },
    weightRange: weightRange === 'auto' ? unmeasuredWeightRange(plan.weights) : weightRange,
    trials: [],
  };
}

/**
 * The plan with scales of all activations, and lower limits on the weight scales that follow from them.
 *
 * @throws FxqError E_USAGE where activations need calibration and there are neither data nor statistics
 */
export async function calibratePlan(
  skeleton: Plan,
  loaded: LoadedModel,
  request: QuantizeRequest,
  ctx: Context,
): Promise<CalibratedPlan> {
  if (Object.keys(skeleton.activations).length === 0)
    return {
      plan: skeleton,
      dataHash: null,
      synthetic: false,
      choice: withoutActivations(request),
      evidence: {},
      ranges: new Map(),
    };
  if (request.statistics === undefined) {
    throw new FxqError('E_USAGE', 'activations are quantized ahead of time, which needs calibration data', [
      'Give --data PATH, or --calibration FILE written by fxq calibrate.',
      'Without data, use --preset dynamic or --preset weight-only.',
    ]);
  }
  const statistics = await statisticsFrom(loaded, request.statistics, valuesToCalibrate(skeleton), ctx);
  const planned = preferUnsigned(skeleton, (value) => statistics.tensors.get(value)?.min);
  const { wordLength, binaryPoint } = request;
  const sized =
    wordLength === undefined
      ? undefined
      : assignWordLengths(loaded, planned, statistics, wordLength, binaryPoint === undefined);
  const scaled = await chooseScales(sized?.plan ?? planned, loaded, statistics, request, ctx);
  const plan = guardBiases(scaled.plan, loaded.model.graph);
  const { dataHash, synthetic } = statistics;
  const evidence = {
    ...(scaled.points === undefined ? {} : { binaryPoints: scaled.points }),
    ...(sized === undefined ? {} : { wordLengths: sized.evidence }),
  };
  const ranges = calibratedRanges(plan, statistics);
  return { plan, dataHash, synthetic, choice: scaled.choice, evidence, ranges };
}

interface ScaledPlan {
  readonly plan: Plan;
  readonly choice: Omit<Choice, 'plan'>;
  readonly points?: BinaryPointEvidence;
}

/** Scales of all activations: by ranges, or as binary points. */
async function chooseScales(
  planned: Plan,
  loaded: LoadedModel,
  statistics: Statistics,
  request: QuantizeRequest,
  ctx: Context,
): Promise<ScaledPlan> {
  const { binaryPoint, emit, solving } = request;
  const spec = request.statistics?.spec;
  if (binaryPoint === undefined) {
    const { plan, ...choice } = await chooseRanges(loaded, planned, statistics, request, spec, ctx);
    return { plan: assignRanges(plan, statistics, choice.ranges, ctx), choice };
  }
  const { plan, ranges, weightRange, evidence } = await chooseBinaryPoints(
    binaryPoint,
    loaded,
    planned,
    statistics,
    { spec, emit, effort: solving.effort },
    ctx,
  );
  return { plan, choice: { ranges: { method: ranges }, weightRange, trials: [] }, points: evidence };
}
