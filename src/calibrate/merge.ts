/** Joining the statistics of shards: addition, so order does not matter and all shards make up one run exactly. */
import { FxqError } from '../core/index.js';
import { mergeSketches } from './sketch.js';
import { type Shards, type Statistics, type TensorStatistics } from './statistics.js';

/**
 * The statistics of several parts of one data set.
 *
 * @throws FxqError E_STATISTICS for parts of different models, data or settings, and for a part given twice
 */
export function mergeStatistics(parts: readonly Statistics[]): Statistics {
  const [first] = parts;
  if (first === undefined)
    throw new FxqError('E_USAGE', 'there are no statistics to merge', 'Give at least one file.');
  if (parts.length === 1) return first;
  for (const part of parts) refuseDifferent(first, part);
  const shards = joinShards(parts);
  const { shards: _, ...common } = first;
  return {
    ...common,
    samples: parts.reduce((sum, part) => sum + part.samples, 0),
    ...(shards !== undefined && { shards }),
    tensors: new Map(
      [...first.tensors.keys()].map((name) => {
        const sketches = parts
          .map((part) => part.tensors.get(name))
          .filter((s): s is TensorStatistics => s !== undefined);
        return [name, mergeSketches(sketches, name)];
      }),
    ),
  };
}

/** What parts of one data set agree on, and what it means when they do not. */
const COMMON = {
  modelHash: 'they were calibrated on different models',
  dataHash: 'they belong to different data sets',
  synthetic: 'one was made from synthetic data (random, or by fxq synthesize)',
  elementsPerSample: 'they counted different numbers of elements',
} as const satisfies Partial<Record<keyof Statistics, string>>;

function refuseDifferent(a: Statistics, b: Statistics): void {
  const key = (Object.keys(COMMON) as (keyof typeof COMMON)[]).find((k) => a[k] !== b[k]);
  const sameValues = [...a.tensors.keys()].join('\n') === [...b.tensors.keys()].join('\n');
  const why = key === undefined ? (sameValues ? undefined : 'they cover different values') : COMMON[key];
  if (why !== undefined) throw cannotMerge(why);
}

/** All indices together; undefined when no part is missing. */
function joinShards(parts: readonly Statistics[]): Shards | undefined {
  const count = parts[0]?.shards?.count;
  const indices = parts.flatMap((part) => part.shards?.indices ?? []).sort((a, b) => a - b);
  if (count === undefined || parts.some((part) => part.shards?.count !== count))
    throw cannotMerge('they are not shards of one division');
  const twice = indices.find((index, i) => index === indices[i + 1]);
  if (twice !== undefined) throw cannotMerge(`shard ${twice + 1} of ${count} is given twice`);
  return indices.length === count ? undefined : { count, indices };
}

function cannotMerge(why: string): FxqError {
  return new FxqError('E_STATISTICS', `these statistics cannot be merged: ${why}`, [
    'Merge the shards 1/n … n/n of one calibration.',
  ]);
}
