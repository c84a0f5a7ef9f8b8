/** Channel permutation: an order of the input channels in which the pattern drops less. */
import { assert, type Rng } from '../../core/index.js';
import { type WeightLayout } from '../weight-layout.js';
import { keepLargest, type Pattern } from './pattern.js';

/** Scores of one layer that reads the channels: [rows × in·kernel] in matrix order, larger is more worth keeping. */
export interface ChannelScores {
  readonly layout: WeightLayout;
  readonly scores: ArrayLike<number>;
}

export interface PermutationOptions {
  /** Exchanges of two channels tried, at most. */
  readonly attempts: number;
}

export const PERMUTATION_DEFAULTS: PermutationOptions = { attempts: 2000 };

export interface PermutationResult {
  /** `order[i]` is the channel that comes to position i. */
  readonly order: readonly number[];
  /** Sum of kept scores in the given order, and in the order found. */
  readonly before: number;
  readonly after: number;
}

/**
 * Exchanges channels between groups as long as that raises the sum of kept scores over all layers (greedy; pairs are
 * tried in a random order that the generator fixes). Channels inside a group may stay in any order.
 */
export function searchPermutation(
  layers: readonly ChannelScores[],
  pattern: Pattern,
  rng: Rng,
  options: Partial<PermutationOptions> = {},
): PermutationResult {
  const { attempts } = { ...PERMUTATION_DEFAULTS, ...options };
  const channels = layers[0]?.layout.in ?? 0;
  assert(
    layers.every((l) => l.layout.in === channels) && channels % pattern.m === 0,
    'layers of different channels',
  );
  const columns = layers.map(columnScores);
  const group = new Float64Array(pattern.m);
  const mask = new Uint8Array(pattern.m);
  /** Kept scores of one group: the channels at `members`, over all rows and kernel positions of all layers. */
  const keptBy = (members: readonly number[]): number => {
    let sum = 0;
    for (const scores of columns)
      for (let line = 0; line < (scores[0]?.length ?? 0); line++) {
        for (let i = 0; i < members.length; i++) group[i] = scores[members[i] as number]?.[line] as number;
        keepLargest(group, pattern, mask);
        for (let i = 0; i < pattern.m; i++) if (mask[i] === 1) sum += group[i] as number;
      }
    return sum;
  };
  const groups = Array.from({ length: channels / pattern.m }, (_, g) =>
    Array.from({ length: pattern.m }, (_, i) => g * pattern.m + i),
  );
  const kept = groups.map(keptBy);
  const total = (): number => kept.reduce((sum, k) => sum + k, 0);
  const before = total();
  for (let attempt = 0; attempt < attempts && groups.length > 1; attempt++) {
    const [a, b] = rng.sample(groups.length, 2) as [number, number];
    const [i, j] = [rng.below(pattern.m), rng.below(pattern.m)];
    const [from, to] = [[...(groups[a] ?? [])], [...(groups[b] ?? [])]];
    [from[i], to[j]] = [to[j] ?? 0, from[i] ?? 0];
    const [keptFrom, keptTo] = [keptBy(from), keptBy(to)];
    if (keptFrom + keptTo <= (kept[a] ?? 0) + (kept[b] ?? 0)) continue;
    [groups[a], groups[b], kept[a], kept[b]] = [from, to, keptFrom, keptTo];
  }
  return { order: groups.flat(), before, after: total() };
}

/** Scores by channel, then by row and kernel position. */
function columnScores({ layout, scores }: ChannelScores): Float64Array[] {
  const { in: depth, kernel } = layout;
  const rows = scores.length / (depth * kernel);
  return Array.from({ length: depth }, (_, channel) =>
    Float64Array.from({ length: rows * kernel }, (_, line) => {
      const [row, k] = [Math.floor(line / kernel), line % kernel];
      return scores[(row * depth + channel) * kernel + k] as number;
    }),
  );
}
