/** Blocks: parts of a network between values through which everything flows, found from the graph. */
import { required } from '../../core/index.js';
import { namesRead, type Graph, type Node } from '../../onnx/index.js';
import { GRADIENTS } from '../../program/index.js';
import { findWeightedLayers, type WeightedLayer } from '../layers.js';

/** Part of a network whose weights are learned together. */
export interface Block {
  readonly layers: readonly WeightedLayer[];
  /** Values that the block reads of what weighted layers before it made. Graph inputs and what follows from them alone do not count. */
  readonly entries: readonly string[];
  /** Values it hands on, and outputs of the network that it makes. */
  readonly exits: readonly string[];
}

export interface BlockLimits {
  /** Neighbouring parts join while they have no more layers than this together. */
  readonly join: number;
  /** Parts with more layers than this are cut where several values flow, too. */
  readonly split: number;
}

export const BLOCK_LIMITS: BlockLimits = { join: 4, split: 12 };

/** Values that may cross the boundary of a block that had to be cut. */
const WIDEST_CUT = 4;

/** A run of layers with the positions (between nodes) where their block begins and ends. */
interface Span {
  readonly layers: readonly WeightedLayer[];
  readonly from: number;
  readonly to: number;
}

/**
 * Cuts a graph into blocks around some of its layers, in its order.
 *
 * A cut is a position in the order of nodes over which one value flows, besides graph inputs and values computed from them
 * without weights (masks, positions): the residual stream, for instance. A block ends at the last cut before the next
 * layer, so activation functions, additions and pooling belong to the layer before them; but it never ends behind a node
 * that has no gradient rule.
 */
export function findBlocks(
  graph: Graph,
  layers: readonly WeightedLayer[],
  limits: Partial<BlockLimits> = {},
): Block[] {
  const { join, split } = { ...BLOCK_LIMITS, ...limits };
  const flow = followFlow(graph);
  const position = new Map(graph.nodes.map((n, i) => [n, i]));
  const at = (layer: WeightedLayer): number => required(position.get(layer.node), layer.node.name);
  const ordered = [...layers].sort((a, b) => at(a) - at(b));
  const spans = joinSpans(spansOf(ordered, at, flow, split, 1), join);
  return spans.map((span) => blockOf(graph, span, flow));
}

/** Flow of values over the positions between nodes: position p is before node p. */
interface Flow {
  readonly nodes: readonly Node[];
  /** Values at a position that a layer before it had a part in and a node behind it reads. */
  live(position: number): string[];
  /** How many those are. */
  width(position: number): number;
  /** The last position that can be reached from a node without passing one that has no gradient rule. */
  reach(node: number): number;
  readonly dependent: ReadonlySet<string>;
}

function followFlow(graph: Graph): Flow {
  const { nodes } = graph;
  const weighted = new Set(findWeightedLayers(graph).map((l) => l.node));
  const dependent = new Set<string>();
  const made = new Map<string, number>();
  const lastRead = new Map<string, number>();
  const blocked = new Set<number>();
  nodes.forEach((node, i) => {
    const read = [...namesRead(node)];
    for (const name of read) lastRead.set(name, i);
    if (!weighted.has(node) && !read.some((name) => dependent.has(name))) return;
    if (node.domain !== '' || !GRADIENTS.has(node.opType)) blocked.add(i);
    for (const name of node.outputs) {
      if (name === '') continue;
      dependent.add(name);
      made.set(name, i);
    }
  });
  const live = (position: number): string[] =>
    [...made].flatMap(([name, i]) => (i < position && (lastRead.get(name) ?? -1) >= position ? [name] : []));
  const widths = Array.from({ length: nodes.length + 1 }, (_, p) => live(p).length);
  return {
    nodes,
    live,
    width: (position) => widths[position] ?? 0,
    reach: (node) => {
      let end = node + 1;
      while (end < nodes.length && !blocked.has(end)) end++;
      return end;
    },
    dependent,
  };
}

/** Spans of layers between cuts that at most `width` values cross. */
function spansOf(
  layers: readonly WeightedLayer[],
  at: (layer: WeightedLayer) => number,
  flow: Flow,
  split: number,
  width: number,
): Span[] {
  const cut = (from: number, to: number): number | undefined => {
    for (let p = to; p >= from; p--) if (flow.width(p) <= width) return p;
    return undefined;
  };
  const groups: WeightedLayer[][] = [];
  layers.forEach((layer, i) => {
    const before = layers[i - 1];
    const open = groups[groups.length - 1];
    const end =
      before === undefined ? undefined : cut(at(before) + 1, Math.min(at(layer), flow.reach(at(before))));
    if (open === undefined || end !== undefined) groups.push([layer]);
    else open.push(layer);
  });
  return groups.flatMap((group, g): Span[] => {
    if (group.length > split && width < WIDEST_CUT) return spansOf(group, at, flow, split, width + 1);
    const [first, last] = [required(group[0], 'a layer'), required(group[group.length - 1], 'a layer')];
    const next = groups[g + 1]?.[0];
    const limit = next === undefined ? flow.nodes.length : at(next);
    const end = cut(at(last) + 1, Math.min(limit, flow.reach(at(last)))) ?? limit;
    return [{ layers: group, from: cut(0, at(first)) ?? 0, to: end }];
  });
}

/** Neighbours joined while they are small; not over nodes that lie between them. */
function joinSpans(spans: readonly Span[], most: number): Span[] {
  const joined: Span[] = [];
  for (const span of spans) {
    const open = joined[joined.length - 1];
    if (open?.to !== span.from || open.layers.length + span.layers.length > most) joined.push(span);
    else
      joined[joined.length - 1] = { layers: [...open.layers, ...span.layers], from: open.from, to: span.to };
  }
  return joined;
}

function blockOf({ outputs }: Graph, { layers, from, to }: Span, flow: Flow): Block {
  const own = new Set(layers.map((l) => l.output));
  const made: string[] = [];
  for (const node of flow.nodes.slice(from, to)) {
    const moves = [...namesRead(node)].some((name) => own.has(name));
    for (const name of node.outputs) {
      if (moves) own.add(name);
      if (own.has(name)) made.push(name);
    }
  }
  const results = new Set(outputs.map((o) => o.name));
  const handedOn = new Set(flow.live(to));
  return {
    layers,
    entries: flow.live(from),
    exits: made.filter((name) => handedOn.has(name) || results.has(name)),
  };
}
