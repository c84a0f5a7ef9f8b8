/** Channel permutation of a whole network: every stream that a sparse layer reads gets the order that keeps most. */
import { assert, required, type Rng } from '../../core/index.js';
import { loadTensor, withGraph, type Model, type TensorType } from '../../onnx/index.js';
import { toFloat32 } from '../../tensor/index.js';
import { findWeightedLayers, type WeightedLayer } from '../layers.js';
import { toMatrix } from '../weight-layout.js';
import { permuteChannels, type ReorderedStream } from './apply-permutation.js';
import { channelStream } from './channel-stream.js';
import { formatPattern, type Pattern } from './pattern.js';
import { searchPermutation, type ChannelScores } from './permute.js';

/** Channels in a new order, and what that is worth. */
export interface PermutedChannels {
  /** Sparse layers that read them. */
  readonly layers: readonly string[];
  readonly channels: number;
  /** Share of the scores that the pattern keeps, mean over the layers; equal where the order stays as it was. */
  readonly kept: { readonly before: number; readonly after: number };
}

/** Channels that keep their order, and why. */
export interface FixedChannels {
  readonly layer: string;
  readonly why: string;
}

/** What was done to all channels that sparse layers read. */
export interface ChannelPermutation {
  readonly permuted: readonly PermutedChannels[];
  readonly fixed: readonly FixedChannels[];
}

export interface PermutedNetwork extends ChannelPermutation {
  readonly model: Model;
}

/**
 * Permutes channels so that patterns keep more of w²·E[x²], the energy that every weight carries by itself (Wanda's
 * score, squared); layers that read the same channels count alike. The network computes what it did before.
 *
 * @param patterns of sparse layers, by node name
 * @param energies E[x²] of every column of a layer's matrix
 */
export function permuteNetwork(
  model: Model,
  types: ReadonlyMap<string, TensorType>,
  patterns: ReadonlyMap<string, Pattern>,
  energies: ReadonlyMap<string, Float64Array>,
  rng: Rng,
): PermutedNetwork {
  const permuted: PermutedChannels[] = [];
  const fixed: FixedChannels[] = [];
  const reordered: ReorderedStream[] = [];
  const done = new Set<string>();
  const { graph } = model;
  const layers = new Map(findWeightedLayers(graph).map((l) => [l.node.name, l]));
  for (const [node, pattern] of patterns) {
    if (done.has(node)) continue;
    const stream = channelStream(graph, types, required(layers.get(node), node));
    if (typeof stream === 'string') {
      done.add(node);
      fixed.push({ layer: node, why: stream });
      continue;
    }
    const sparse = stream.readers.filter((r) => patterns.has(r.node.name));
    const readers = sparse.filter((r) => isAlike(patterns.get(r.node.name), pattern));
    const scores = readers.map((r) => scoresOf(model, r, required(energies.get(r.node.name), r.node.name)));
    const { order, before, after } = searchPermutation(scores, pattern, rng.fork(`permute ${node}`));
    // Channels have one order: that of the first pattern.
    for (const r of sparse) {
      done.add(r.node.name);
      if (!readers.includes(r))
        fixed.push({
          layer: r.node.name,
          why: `its channels are ordered for ${formatPattern(pattern)} in '${node}'`,
        });
    }
    if (after > before) reordered.push({ stream, order });
    permuted.push({
      layers: readers.map((r) => r.node.name),
      channels: stream.channels,
      kept: { before: before / readers.length, after: after / readers.length },
    });
  }
  const changed = reordered.length === 0 ? model : withGraph(model, permuteChannels(graph, reordered));
  return { model: changed, permuted, fixed };
}

/** Shares of a layer's energy by weight, [rows × cols]. */
function scoresOf(
  { graph }: Model,
  { layout, weight, node }: WeightedLayer,
  energy: Float64Array,
): ChannelScores {
  const values = toMatrix(
    layout,
    toFloat32(loadTensor(required(graph.initializers.get(weight), weight), weight)),
  );
  assert(values.length % energy.length === 0, `energies of another layer than ${node.name}`);
  const scores = Float64Array.from(values, (w, i) => w * w * (energy[i % energy.length] as number));
  const total = scores.reduce((sum, s) => sum + s, 0) || 1;
  return { layout, scores: scores.map((s) => s / total) };
}

function isAlike(a: Pattern | undefined, b: Pattern): boolean {
  return a !== undefined && formatPattern(a) === formatPattern(b);
}
