/**
 * How a data set is cut into runs. The cut follows from model and data alone, never from shards, threads or memory, so
 * that the same runs are made whoever makes them: kernels may differ in the last bit between batch sizes.
 */
import { FxqError } from '../core/index.js';

/** Samples `from` up to `to`. */
export interface Block {
  readonly from: number;
  readonly to: number;
}

/** A part of a data set: the one numbered `index` (from 0) of `count`. */
export interface Shard {
  readonly index: number;
  readonly count: number;
}

/** Elements of the largest value in one run, about: 1 MB of float32, what a core's own cache holds. */
const RUN_ELEMENTS = 2 ** 18;

const LARGEST_BATCH = 32;

/** Runs a data set is cut into at least, if it has as many samples: work for shards and threads. */
const LEAST_BLOCKS = 16;

/**
 * Samples of one run. Larger batches cost less for each call, until activations no longer stay in the cache.
 *
 * @param largest elements that the largest value takes for one sample
 */
export function chooseBatch(largest: number, samples: number): number {
  const fitting = Math.min(RUN_ELEMENTS / Math.max(largest, 1), LARGEST_BATCH, samples / LEAST_BLOCKS);
  return Math.max(1, Math.floor(fitting));
}

/**
 * Blocks of `size` samples. A single sample left over joins the block before it: a run of one takes other kernels than a
 * run of several.
 */
export function cutBlocks(samples: number, size: number): Block[] {
  const blocks: Block[] = [];
  for (let from = 0; from < samples;) {
    const rest = samples - from;
    const to = from + (size > 1 && rest === size + 1 ? rest : Math.min(size, rest));
    blocks.push({ from, to });
    from = to;
  }
  return blocks;
}

/**
 * The blocks of one shard: consecutive ones, as evenly as they divide.
 *
 * @throws FxqError E_USAGE when there are fewer blocks than shards
 */
export function shardBlocks(blocks: readonly Block[], { index, count }: Shard): Block[] {
  const valid = Number.isInteger(index) && Number.isInteger(count) && index >= 0 && index < count;
  if (!valid || count > blocks.length) {
    throw new FxqError(
      'E_USAGE',
      valid
        ? `the data set falls into ${blocks.length} parts, so it cannot be divided into ${count} shards`
        : `there is no shard ${index + 1} of ${count}`,
      `Give a shard i/n with 1 ≤ i ≤ n ≤ ${blocks.length}.`,
    );
  }
  const bound = (i: number): number => Math.floor((i * blocks.length) / count);
  return blocks.slice(bound(index), bound(index + 1));
}
