/** One pass over the data in fixed memory: a sketch of every value asked for. */
import { availableParallelism } from 'node:os';
import { checkAbort, type Context, type Progress } from '../core/index.js';
import { type DataSet } from '../data/index.js';
import { type Batch } from '../engine/index.js';
import { serializeModel, storedTensors, tensorBytes, type Model } from '../onnx/index.js';
import { sizeOf } from '../tensor/index.js';
import { chooseBatch, cutBlocks, shardBlocks, type Block, type Shard } from './blocks.js';
import { inspectValues, type ValueLayout } from './layout.js';
import { hashModel } from './model-hash.js';
import { openObserver, type Observer } from './observe.js';
import { mergeSketches } from './sketch.js';
import { type Statistics, type TensorStatistics } from './statistics.js';
import { tapModel, type TappedModel } from './taps.js';
import { CAN_START_WORKERS, startWorker } from './worker-observer.js';

export interface CollectOptions {
  /** Only this part of the data set. */
  readonly shard?: Shard;
  /**
   * About how many elements of each value are counted over the whole data set; extremes are exact whatever is counted.
   * Infinity counts every element, which takes a few times longer. Default: 131,072.
   */
  readonly elements?: number;
}

/** A tail of 1e-4 still holds a dozen elements. */
const DEFAULT_ELEMENTS = 2 ** 17;

/**
 * Runs the data through a model once and sketches the values named. The result is the same for any number of threads,
 * and merged shards are the same as one run, byte for byte.
 *
 * @param model the prepared model
 * @param names values of its main graph that hold real numbers
 * @throws FxqError E_GRAPH for an unknown value, E_DATA for bad samples, E_USAGE for an impossible shard
 */
export async function collect(
  model: Model,
  data: DataSet,
  names: readonly string[],
  ctx: Context,
  options: CollectOptions = {},
): Promise<Statistics> {
  const { shard, elements = DEFAULT_ELEMENTS } = options;
  const elementsPerSample = Math.ceil(elements / data.samples);
  const values = [...new Set(names)].sort();
  // Where activations stay float there is nothing to look at, and no reason to run the model.
  const layouts =
    values.length === 0 ? new Map<string, ValueLayout>() : await inspectValues(model, values, data);
  const tapped = tapModel(model, layouts, elementsPerSample);
  const batch = tapped.taps.every((tap) => tap.batched) ? await batchFor(data, layouts) : 1;
  const all = cutBlocks(data.samples, Math.max(data.batchSize(batch), data.sequence));
  const blocks = shard === undefined ? all : shardBlocks(all, shard);
  const samples = blocks.reduce((sum, { from, to }) => sum + to - from, 0);
  const progress = ctx.start('Calibrating', samples);
  const sketches = values.length === 0 ? [] : await observeAll(tapped, data, blocks, ctx, progress);
  progress.finish();
  noteSpecial(sketches, ctx);
  return {
    modelHash: hashModel(model),
    dataHash: data.hash(),
    synthetic: data.synthetic,
    samples,
    elementsPerSample,
    ...(shard !== undefined && shard.count > 1 && { shards: { count: shard.count, indices: [shard.index] } }),
    tensors: new Map(sketches.map((s) => [s.name, s])),
  };
}

/** Samples of one run, by the largest value of the first sample. */
async function batchFor(data: DataSet, layouts: ReadonlyMap<string, ValueLayout>): Promise<number> {
  const observed = [...layouts.values()].map(({ dims }) => sizeOf(dims ?? []));
  for await (const { inputs } of data.batches(1, 0, 1)) {
    const fed = [...inputs.values()].map(({ dims }) => sizeOf(dims));
    return chooseBatch(Math.max(...observed, ...fed), data.samples);
  }
  return 1;
}

async function observeAll(
  tapped: TappedModel,
  data: DataSet,
  blocks: readonly Block[],
  ctx: Context,
  progress: Progress,
): Promise<TensorStatistics[]> {
  const observers = await openObservers(tapped, data, blocks.length, ctx);
  try {
    let done = 0;
    const batches = readBlocks(data, blocks, ctx);
    const drain = async (observer: Observer): Promise<void> => {
      for (let next = await batches.next(); next.done !== true; next = await batches.next()) {
        await observer.observe(next.value);
        progress.update((done += next.value.count));
      }
    };
    await Promise.all(
      observers.flatMap((observer) => Array.from({ length: observer.ahead }, () => drain(observer))),
    );
    const parts = await Promise.all(observers.map((observer) => observer.sketches()));
    return tapped.taps.map((tap, i) =>
      mergeSketches(
        parts.flatMap((part) => part[i] ?? []),
        tap.value,
      ),
    );
  } finally {
    await Promise.all(observers.map((observer) => observer.close()));
  }
}

async function* readBlocks(data: DataSet, blocks: readonly Block[], ctx: Context): AsyncGenerator<Batch> {
  for (const { from, to } of blocks) {
    checkAbort(ctx);
    yield* data.batches(to - from, from, to);
  }
}

/** Models with more weights than this share one session: copies would cost more memory than threads save time. */
const WORKER_WEIGHT_BYTES = 2 ** 28;

/**
 * One observer in this thread and, for more threads, one in a worker for each: operators of small models gain little
 * from threads inside a run. Each session then has one thread.
 */
async function openObservers(
  { model, taps }: TappedModel,
  data: DataSet,
  blocks: number,
  ctx: Context,
): Promise<Observer[]> {
  const threads = Math.min(ctx.threads === 0 ? availableParallelism() : ctx.threads, blocks);
  const stored = storedTensors(model.graph);
  const small = [...stored].reduce((sum, t) => sum + tensorBytes(t), 0) <= WORKER_WEIGHT_BYTES;
  if (threads < 2 || data.carry.size > 0 || !small || !CAN_START_WORKERS)
    return [await openObserver(model, taps, data.carry, ctx.threads)];
  const job = { model: serializeModel(model), taps };
  const workers = Array.from({ length: threads - 1 }, () => startWorker(job));
  try {
    return [...workers, await openObserver(job.model, taps, data.carry, 1)];
  } catch (error) {
    await Promise.all(workers.map((worker) => worker.close()));
    throw error;
  }
}

/** Values that are not finite spoil ranges; someone should know where they come from. */
function noteSpecial(sketches: readonly TensorStatistics[], ctx: Context): void {
  for (const { name, nan, infinite, min, max } of sketches) {
    const unbounded = infinite > 0 || min === -Infinity || max === Infinity;
    if (nan === 0 && (min > max || !unbounded)) continue;
    const what = nan > 0 ? 'NaN' : 'infinities';
    ctx.note({
      level: 'warn',
      code: 'calibration-not-finite',
      message: `value '${name}' holds ${what} for some samples; its range is taken from the finite elements`,
    });
  }
}
