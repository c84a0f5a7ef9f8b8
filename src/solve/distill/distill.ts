/**
 * Recovery without labels: the quantized network learns to answer like the float one, straight through its roundings,
 * with sparse weights kept sparse. What is learned are the codes, scales and biases that are written.
 */
import { hashModel } from '../../calibrate/index.js';
import { FxqError, canonicalJson, checkAbort, required, sha256, type Context } from '../../core/index.js';
import { type DataSet } from '../../data/index.js';
import { openSession } from '../../engine/index.js';
import { type Dim } from '../../onnx/index.js';
import { type Plan, type SolvedWeight } from '../../plan/index.js';
import { type Tensor } from '../../tensor/index.js';
import { chooseLoss } from '../importance/output-loss.js';
import { lateFeatures } from './features.js';
import { type Targets } from './objective.js';
import { progressFile, type Kept } from './progress-file.js';
import { readSamples, type Feeds, type Partner, type SamplePool } from './samples.js';
import { type DistillSettings } from './settings.js';
import { type TypedModel } from './student.js';
import {
  openMeasure,
  openTraining,
  startState,
  type LearningState,
  type Measured,
  type Pair,
} from './train.js';
import { learnedResult, learnedWeights, type Parameters } from './weights.js';

/** What goes in: the float network, the solved one, and its weights. */
export interface DistillInput {
  readonly teacher: TypedModel;
  /** Activations quantized, weights float, biases as solved. */
  readonly student: TypedModel;
  readonly plan: Plan;
  readonly solved: ReadonlyMap<string, SolvedWeight>;
  /** Nodes whose zero weights stay zero. */
  readonly sparse: ReadonlySet<string>;
}

/** Before and after, on samples that were neither solved for, nor learned from, nor chose the step. */
export interface Change {
  readonly before: number;
  readonly after: number;
}

export interface DistillReport extends DistillSettings {
  readonly samples: { readonly fit: number; readonly heldOut: number };
  /** Step of the best parameters; 0 when nothing learned was better, and the solved network was kept. */
  readonly bestStep: number;
  /** Loss of the outputs: KL divergence in nats, or relative squared error. */
  readonly output: Change;
  /** Relative squared error of the features, with their weights. */
  readonly late: readonly (Change & { readonly value: string; readonly weight: number })[];
}

export interface Distilled {
  readonly weights: ReadonlyMap<string, SolvedWeight>;
  readonly biases: ReadonlyMap<string, Tensor>;
  readonly report: DistillReport;
}

/** Bytes of samples held in memory, of samples of one run, and of activations of one step. */
const MEMORY = { samples: 2 ** 28, run: 2 ** 26, step: 2 ** 30 };
/** Copies of every activation that a step holds: both networks, roundings, gradients. */
const COPIES = 8;
/** Samples that weigh the features, at most. */
const WEIGHING_SAMPLES = 256;
/** Looks at the held-out samples over the whole of learning. */
const LOOKS = 20;
/** Counts up when the same input learns something else. */
const GENERATION = 1;

/**
 * Distils the float network into the solved one and keeps the better of both by their loss on samples that chose nothing.
 *
 * @param cache folder where progress is kept; none when absent
 * @throws FxqError E_UNSUPPORTED where an operator has no gradient, no output is float, or nothing can be learned
 */
export async function distill(
  input: DistillInput,
  data: DataSet,
  settings: DistillSettings,
  cache: string | undefined,
  ctx: Context,
): Promise<Distilled> {
  const { teacher, student, plan, solved, sparse } = input;
  const learned = learnedWeights(student.model.graph, plan, solved, sparse);
  if (learned.weights.length === 0)
    throw new FxqError(
      'E_UNSUPPORTED',
      'distillation learns integer codes of layers, and this plan has none',
      'Choose integer weights (int8, int4 …), or leave --distill out.',
    );
  const pool = await readSamples(data, settings.batch, MEMORY.samples, ctx);
  const batch = fittingBatch(teacher, pool, settings.batch);
  const pair: Pair = { teacher, student, learned };
  const outputs = await outputKinds(teacher, pool.take([0]), ctx);
  const unweighted: Targets = {
    outputs,
    features:
      settings.features === 'none'
        ? []
        : lateFeatures(teacher.model, teacher.types).map((value) => ({ value, weight: 0 })),
  };
  // One half of the held-out samples chooses the step; the other one, which chose nothing, decides whether it is kept.
  const half = pool.fit + Math.floor((pool.samples - pool.fit) / 2);
  const choosing = evenly(pool.fit, half, batch);
  const size = required(choosing[0], 'held-out samples').length;
  const confirming = inBatches(half, pool.samples, size);
  const measure = await openMeasure(
    pair,
    unweighted,
    pool.take(required(choosing[0], 'held-out samples')),
    ctx.threads,
  );
  const average = async (
    parameters: Parameters<Tensor>,
    batches: readonly (readonly number[])[],
  ): Promise<Measured> => {
    const all: Measured[] = [];
    for (const samples of batches) all.push(await measure.run(parameters, pool.take(samples)));
    const mean = (of: (m: Measured) => number): number => all.reduce((sum, m) => sum + of(m), 0) / all.length;
    return {
      output: mean((m) => m.output),
      features: unweighted.features.map((_, k) => mean((m) => m.features[k] ?? 0)),
    };
  };
  try {
    const start = startState(learned);
    const weighing = inBatches(0, Math.min(pool.fit, WEIGHING_SAMPLES), size);
    const residuals = (await average(start.parameters, weighing)).features;
    const targets = { outputs, features: weighFeatures(unweighted.features, residuals, settings) };
    const key = keyOf(input, data, settings, batch, ctx);
    const file =
      cache === undefined
        ? undefined
        : progressFile<Facts, Tensors>(cache, key, { state: start, best: start.parameters });
    const { best, bestStep: found } = await learn(
      pair,
      targets,
      pool,
      batch,
      settings,
      (p) => average(p, choosing),
      file,
      ctx,
    );
    const before = await average(start.parameters, confirming);
    const learnedAfter = found === 0 ? before : await average(best, confirming);
    const isBetter = learnedAfter.output < before.output;
    const after = isBetter ? learnedAfter : before;
    const bestStep = isBetter ? found : 0;
    const report: DistillReport = {
      ...settings,
      batch,
      samples: { fit: pool.fit, heldOut: confirming.length * size },
      bestStep,
      output: { before: before.output, after: after.output },
      late: targets.features.map(({ value, weight }, k) => ({
        value,
        weight,
        before: before.features[k] ?? 0,
        after: after.features[k] ?? 0,
      })),
    };
    return bestStep === 0
      ? { weights: new Map(), biases: new Map(), report }
      : { ...learnedResult(learned, best), report };
  } finally {
    await measure.release();
  }
}

interface Facts {
  readonly step: number;
  readonly bestStep: number;
  readonly before: Measured;
  readonly best: Measured;
}

type Tensors = { readonly state: LearningState<Tensor>; readonly best: Parameters<Tensor> };

/** Runs the loop in pieces; after each one the choosing samples say which parameters are the best so far. */
async function learn(
  pair: Pair,
  targets: Targets,
  pool: SamplePool,
  batch: number,
  settings: DistillSettings,
  measure: (parameters: Parameters<Tensor>) => Promise<Measured>,
  file: { read(): Kept<Facts, Tensors> | undefined; write(kept: Kept<Facts, Tensors>): void } | undefined,
  ctx: Context,
): Promise<{ best: Parameters<Tensor>; bestStep: number }> {
  const progress = ctx.start('Distilling', settings.steps);
  let kept = file?.read();
  if (kept === undefined) {
    const state = startState(pair.learned);
    const before = await measure(state.parameters);
    kept = {
      facts: { step: 0, bestStep: 0, before, best: before },
      tensors: { state, best: state.parameters },
    };
  }
  const order = sampleOrder(pool.fit, batch, settings.mix, ctx);
  const like = pool.take(order(0)[0]);
  const piece = pieceOf(settings.steps, like);
  const training = await openTraining(pair, targets, like, settings, ctx.threads);
  try {
    while (kept.facts.step < settings.steps) {
      checkAbort(ctx);
      const { facts, tensors } = kept as Kept<Facts, Tensors>;
      const count = Math.min(piece, settings.steps - facts.step);
      const batches = Array.from({ length: count }, (_, i) => pool.mix(...order(facts.step + i)));
      const state = await training.run(tensors.state, facts.step, batches);
      const now = await measure(state.parameters);
      const step = facts.step + count;
      const better = now.output < facts.best.output;
      kept = {
        facts: { ...facts, step, ...(better ? { bestStep: step, best: now } : {}) },
        tensors: { state, best: better ? state.parameters : tensors.best },
      };
      file?.write(kept);
      progress.update(step, `held-out loss ${kept.facts.best.output.toPrecision(3)}`);
    }
  } finally {
    await training.release();
  }
  const { before, best, bestStep } = kept.facts;
  progress.finish(
    `Distilled in ${settings.steps} steps: held-out loss ${before.output.toPrecision(3)} → ${best.output.toPrecision(3)}${bestStep === 0 ? ' (nothing better found)' : ''}`,
  );
  return { best: kept.tensors.best, bestStep };
}

/** Weights of a given sum; by residual: the more the solved network lost there, the heavier (GPUSQ-ViT). */
function weighFeatures(
  features: Targets['features'],
  residuals: readonly number[],
  { features: rule, featureWeight }: DistillSettings,
): Targets['features'] {
  const sum = residuals.reduce((a, b) => a + b, 0);
  return features.map(({ value }, k) => ({
    value,
    weight:
      featureWeight * (rule === 'uniform' || sum === 0 ? 1 / features.length : (residuals[k] ?? 0) / sum),
  }));
}

/** Float outputs with the loss that fits their values. */
async function outputKinds(
  { model, types }: TypedModel,
  sample: Feeds,
  ctx: Context,
): Promise<Targets['outputs']> {
  const names = model.graph.outputs.map((o) => o.name).filter((name) => types.get(name)?.dtype === 'float32');
  if (names.length === 0)
    throw new FxqError(
      'E_UNSUPPORTED',
      'the model has no float32 output that could be matched',
      'Leave --distill out.',
    );
  const session = await openSession(model, { threads: ctx.threads });
  try {
    const found = await session.run(sample, names);
    return names.map((value) => ({ value, kind: chooseLoss(required(found.get(value), value)) }));
  } finally {
    await session.release();
  }
}

/** Samples of a step whose activations fit into memory. */
function fittingBatch({ model, types }: TypedModel, pool: SamplePool, wanted: number): number {
  const sizes = new Map<string, number>();
  for (const [name, { dims }] of pool.take([0]))
    types.get(name)?.dims?.forEach((d, i) => {
      if (typeof d === 'string') sizes.set(d, dims[i] ?? 1);
    });
  const sizeOf = (d: Dim): number => (typeof d === 'number' ? d : (sizes.get(d ?? '') ?? 1));
  const bytes = model.graph.nodes
    .flatMap((node) => node.outputs)
    .reduce(
      (sum, name) =>
        sum + 4 * (types.get(name)?.dims ?? []).reduce<number>((product, d) => product * sizeOf(d), 1),
      0,
    );
  const fitting = Math.floor(MEMORY.step / Math.max(bytes * COPIES, 1));
  return Math.max(1, Math.min(pool.batch, wanted, fitting));
}

/** Steps of one run of the loop. */
function pieceOf(steps: number, like: Feeds): number {
  const bytes = [...like.values()].reduce((sum, t) => sum + t.data.byteLength, 0);
  return Math.max(1, Math.min(Math.ceil(steps / LOOKS), Math.floor(MEMORY.run / Math.max(bytes, 1))));
}

/** Samples `from` up to `to` in batches of one size, at most `most`; a rest that does not divide is left out. */
function evenly(from: number, to: number, most: number): number[][] {
  const count = Math.ceil((to - from) / most);
  const size = Math.floor((to - from) / count);
  return Array.from({ length: count }, (_, b) => Array.from({ length: size }, (_, i) => from + b * size + i));
}

/** Samples `from` up to `to` in batches of a given size; a rest is left out. */
function inBatches(from: number, to: number, size: number): number[][] {
  return Array.from({ length: Math.floor((to - from) / size) }, (_, b) =>
    Array.from({ length: size }, (_, i) => from + b * size + i),
  );
}

/** Samples of every step, all of them in a new random order again and again, and what each is mixed with. */
function sampleOrder(
  samples: number,
  batch: number,
  mix: number,
  ctx: Context,
): (step: number) => [number[], Partner[]] {
  const orders = new Map<number, number[]>();
  const at = (position: number): number => {
    const epoch = Math.floor(position / samples);
    let order = orders.get(epoch);
    if (order === undefined) {
      orders.delete(epoch - 2);
      order = ctx.rng.fork(`distill epoch ${epoch}`).shuffle(Array.from({ length: samples }, (_, i) => i));
      orders.set(epoch, order);
    }
    return required(order[position % samples], 'a sample');
  };
  return (step) => {
    const rng = ctx.rng.fork(`distill mixture ${step}`);
    const partner = (): Partner => {
      const [sample, share] = [rng.below(samples), rng.uniform()];
      return { sample, share: rng.uniform() < mix ? share : 0 };
    };
    const own = Array.from({ length: batch }, (_, i) => at(step * batch + i));
    return [own, own.map(partner)];
  };
}

/** Hash of all that the result depends on. */
function keyOf(
  { teacher, student, plan, solved, sparse }: DistillInput,
  data: DataSet,
  settings: DistillSettings,
  batch: number,
  ctx: Context,
): string {
  const facts = canonicalJson({
    GENERATION,
    settings,
    batch,
    seed: ctx.seed,
    data: data.hash(),
    teacher: hashModel(teacher.model),
    student: hashModel(student.model),
    weights: plan.weights,
    sparse: [...sparse].sort(),
  });
  const arrays = [...solved.values()].flatMap(({ codes, scale, zeroPoint }) => [codes, scale, zeroPoint]);
  return sha256(facts, ...arrays.map((a) => new Uint8Array(a.buffer, a.byteOffset, a.byteLength)));
}
