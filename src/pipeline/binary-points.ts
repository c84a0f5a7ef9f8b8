/** Binary points of a plan by one of three ways (QFX, arXiv 2401.17544), and how the ways compare on calibration samples. */
import { assignRanges, type RangeMethod, type Statistics } from '../calibrate/index.js';
import { FxqError, checkAbort, type Context } from '../core/index.js';
import { openDataSet, type DataSpec } from '../data/index.js';
import { isIntegerForm, type Form } from '../emit/index.js';
import { readAll, type Batch } from '../engine/index.js';
import { parseFormat, type FitMethod } from '../formats/index.js';
import { feedInputs, type Model } from '../onnx/index.js';
import { guardBiases, type Plan } from '../plan/index.js';
import { type BinaryPointEvidence, type BinaryPointMethod, type BinaryPointTrial } from '../report/index.js';
import {
  fitSamples,
  hasGradient,
  hasOpenPoint,
  learnBinaryPoints,
  roundToNearest,
  type Effort,
  type LearnedPoints,
} from '../solve/index.js';
import { type LoadedModel } from './load-model.js';
import { meanSqnr, runModel, simulate, type Outputs } from './output-quality.js';

/** What each way means for activations and for weights; learning starts from the exhaustive search. */
const FITS: Readonly<Record<BinaryPointMethod, { ranges: RangeMethod; weights: FitMethod }>> = {
  ranges: { ranges: 'minmax', weights: 'range' },
  exhaustive: { ranges: 'mse', weights: 'mse' },
  learned: { ranges: 'mse', weights: 'mse' },
};

/** Samples that learning sees in every step, and its work. */
const LEARNING: Readonly<Record<Effort, { samples: number; steps: number; sweeps: number }>> = {
  fast: { samples: 16, steps: 100, sweeps: 1 },
  balanced: { samples: 64, steps: 200, sweeps: 2 },
  best: { samples: 128, steps: 400, sweeps: 3 },
};

/** Samples of each part on which the ways are compared, at most, and of one run. */
const COMPARED = 64;
const BATCH = 16;

/** Batches of a model that takes a fixed number of samples, which learning has to unroll. */
const MOST_BATCHES = 8;

/** Share of the samples that nobody looks at before the comparison. */
const HELD_OUT = 0.2;

export interface ChosenPoints {
  /** With scales of activations; those of weights where they were learned. */
  readonly plan: Plan;
  readonly ranges: RangeMethod;
  readonly weightRange: FitMethod;
  readonly evidence: BinaryPointEvidence;
}

/**
 * Chooses the binary points of a plan.
 *
 * @param planned without scales
 * @param spec    calibration data; without them `ranges` and `exhaustive` are taken from the statistics and not compared
 * @throws FxqError E_CONFIG when no format leaves its binary point open, E_USAGE for `learned` without data
 */
export async function chooseBinaryPoints(
  method: BinaryPointMethod,
  { model, types }: LoadedModel,
  planned: Plan,
  statistics: Statistics,
  {
    spec,
    emit,
    effort,
  }: { readonly spec: DataSpec | undefined; readonly emit: Form; readonly effort: Effort },
  ctx: Context,
): Promise<ChosenPoints> {
  requireOpenPoints(planned);
  const settle = (way: BinaryPointMethod): Candidate => {
    const quiet = { ...ctx, note: () => undefined };
    const plan = assignRanges(planned, statistics, { method: FITS[way].ranges }, quiet);
    return { method: way, plan, weights: FITS[way].weights };
  };
  const chosen = settle(method);
  const fitOf = (way: BinaryPointMethod): Pick<ChosenPoints, 'ranges' | 'weightRange'> => ({
    ranges: FITS[way].ranges,
    weightRange: FITS[way].weights,
  });
  if (spec === undefined) {
    if (method !== 'learned')
      return { ...fitOf(method), plan: chosen.plan, evidence: { method, trials: [] } };
    throw new FxqError(
      'E_USAGE',
      'binary points are learned on data, and a statistics file alone was given',
      ['Give --data PATH, also beside --calibration.', 'Without data, use --binary-point exhaustive.'],
    );
  }
  const samples = await takeSamples(model, spec, effort, ctx);
  const candidates = [settle('ranges'), settle('exhaustive')];
  let learned: BinaryPointEvidence['learned'];
  if (method === 'learned') {
    const result = await learnBinaryPoints(
      { model, types, plan: chosen.plan, weights: roundToNearest(model.graph, chosen.plan, 'mse') },
      samples.learning,
      LEARNING[effort],
      ctx,
    );
    learned = summarize(result, planned);
    candidates.push({ method, plan: result.plan, weights: 'mse' });
  }
  const trials = await compare(candidates, { model, types }, emit, samples, ctx);
  const kept = method === 'learned' ? bestOnOthers(trials) : method;
  const plan = candidates.find((c) => c.method === kept)?.plan ?? chosen.plan;
  const evidence = {
    method,
    ...(kept === method ? {} : { kept }),
    trials,
    ...(learned === undefined ? {} : { learned }),
  };
  return { ...fitOf(kept), plan, evidence };
}

/** The way with the least error on samples held out (on those seen, where there are no others); learned among equals. */
export function bestOnOthers(trials: readonly BinaryPointTrial[]): BinaryPointMethod {
  const quality = ({ heldOut, fit }: BinaryPointTrial): number => heldOut ?? fit;
  const best = trials.reduce<BinaryPointTrial | undefined>(
    (known, trial) => (known !== undefined && quality(known) > quality(trial) ? known : trial),
    undefined,
  );
  return best?.method ?? 'learned';
}

interface Candidate {
  readonly method: BinaryPointMethod;
  readonly plan: Plan;
  readonly weights: FitMethod;
}

function requireOpenPoints({ activations, weights }: Plan): void {
  const formats = [...Object.values(activations), ...Object.values(weights)].map(({ format }) => format);
  if (formats.some(hasOpenPoint)) return;
  throw new FxqError(
    'E_CONFIG',
    `a way to choose binary points is asked for, but none is open in ${[...new Set(formats)].join(', ')}`,
    'Choose formats like fix8, dfp8 or pot8k2, or leave --binary-point out.',
  );
}

/** Formats whose points the gradient does not know stay where the search put them, which is said. */
function summarize(
  { blocks, whole }: LearnedPoints,
  { activations, weights }: Plan,
): BinaryPointEvidence['learned'] {
  const formats = [...Object.values(activations), ...Object.values(weights)].map(({ format }) => format);
  const unknown = [...new Set(formats)].filter(
    (name) => hasOpenPoint(name) && !hasGradient(parseFormat(name)),
  );
  const without = blocks.filter((b) => b.why !== undefined).map((b) => `${b.block}: ${b.why ?? ''}`);
  return {
    points: whole.points,
    moved: whole.moved,
    skipped: [...unknown.map((name) => `${name} keeps the points of the exhaustive search`), ...without],
  };
}

interface Samples {
  readonly learning: readonly Batch[];
  readonly seen: readonly Batch[];
  readonly apart: readonly Batch[];
  readonly carry: ReadonlyMap<string, string>;
}

async function takeSamples(model: Model, spec: DataSpec, effort: Effort, ctx: Context): Promise<Samples> {
  const data = await openDataSet(spec, feedInputs(model.graph), { ...ctx, note: () => undefined });
  const fit = fitSamples(data.samples, HELD_OUT);
  const take = (wanted: number, from: number, to: number): Promise<Batch[]> =>
    readAll(data.batches(wanted, from, Math.max(from, to)));
  const wanted = Math.min(LEARNING[effort].samples, fit);
  const perBatch = data.batchSize(wanted);
  return {
    learning: await take(wanted, 0, Math.min(wanted, perBatch * MOST_BATCHES)),
    seen: await take(BATCH, 0, Math.min(COMPARED, fit)),
    apart: await take(BATCH, fit, Math.min(data.samples, fit + COMPARED)),
    carry: data.carry,
  };
}

/** Output error of each candidate, weights rounded to nearest. */
async function compare(
  candidates: readonly Candidate[],
  { model, types }: Pick<LoadedModel, 'model' | 'types'>,
  emit: Form,
  { seen, apart, carry }: Samples,
  ctx: Context,
): Promise<BinaryPointTrial[]> {
  const progress = ctx.start('Comparing binary points', candidates.length);
  const run = (m: Model, batches: readonly Batch[]): Promise<Outputs> => runModel(m, batches, carry, ctx);
  const [exact, exactApart] = [await run(model, seen), await run(model, apart)];
  const trials: BinaryPointTrial[] = [];
  for (const { method, plan, weights } of candidates) {
    checkAbort(ctx);
    const guarded = guardBiases(plan, model.graph);
    const rounded = roundToNearest(model.graph, guarded, weights);
    const written = await simulate({ model, types }, guarded, rounded, isIntegerForm(emit));
    const fit = meanSqnr(exact, await run(written, seen));
    const heldOut = apart.length === 0 ? undefined : meanSqnr(exactApart, await run(written, apart));
    trials.push({ method, fit, ...(heldOut === undefined ? {} : { heldOut }) });
    progress.update(trials.length);
  }
  const tried = trials.map((t) => `${t.method} ${(t.heldOut ?? t.fit).toFixed(1)} dB`);
  progress.finish(`Compared binary points (${tried.join('; ')})`);
  return trials;
}
