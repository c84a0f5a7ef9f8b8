/**
 * Channel groups: values whose channels may be divided by positive factors without changing what the model computes,
 * because everything that makes them can be divided, everything in between passes factors on, and the layers at the end
 * can be multiplied.
 */
import { describeNode, GraphEditor, type Dim, type Graph, type Node } from '../../onnx/index.js';
import { carrierOf } from './carriers.js';
import { consume, produce, sourceAt } from './ends.js';
import {
  type ChannelGroup,
  type ChannelGroups,
  type GrowingGroup,
  type Obstacle,
  type Place,
  type ScaledConstant,
  type Shapes,
} from './group.js';

/**
 * The groups of a graph; a value is in one at most. Values that subgraphs read or that are graph outputs are in none.
 *
 * @param shapes of all values
 */
export function findChannelGroups(graph: Graph, shapes: Shapes): ChannelGroups {
  const editor = new GraphEditor(graph);
  const groups: ChannelGroup[] = [];
  const refused = new Map<string, string>();
  const known = new Set<string>();
  for (const node of graph.nodes) {
    const source = sourceAt(node, editor, shapes);
    if (source === undefined || known.has(source.value) || source.channels < 2) continue;
    const group = grow(editor, shapes, source.value, source.place, source.channels);
    if (typeof group === 'string') {
      refused.set(source.value, group);
      continue;
    }
    for (const value of group.values.keys()) known.add(value);
    if (group.consumers.length > 0) groups.push(group);
  }
  return { groups, refused };
}

/** The smallest group around a value, or what stands in its way. */
function grow(
  graph: GraphEditor,
  shapes: Shapes,
  start: string,
  place: Place,
  channels: number,
): ChannelGroup | string {
  const values = new Map<string, Place>();
  const ends = { producers: [] as ScaledConstant[], consumers: [] as ScaledConstant[] };
  const open: string[] = [];
  const dims = (value: string): readonly Dim[] | undefined =>
    graph.constant(value)?.dims ?? shapes.get(value)?.dims;
  const group: GrowingGroup = {
    graph,
    channels,
    dims,
    place: (value) => values.get(value),
    join: (value, at) => {
      if (value === undefined || at === undefined) return 'its channels cannot be followed';
      const before = values.get(value);
      if (before !== undefined)
        return before.axis === at.axis && before.inner === at.inner
          ? undefined
          : `channels of '${value}' lie in two ways`;
      if (dims(value)?.[at.axis] !== channels * at.inner) return `'${value}' has not ${channels} channels`;
      if (graph.isGraphOutput(value)) return `'${value}' is a graph output`;
      if (graph.producer(value) === undefined) return `'${value}' is not computed`;
      values.set(value, at);
      open.push(value);
      return undefined;
    },
    isDivided: (initializer) => ends.producers.some((c) => c.initializer === initializer),
    scale: (side, constant) => {
      const { initializer, node } = constant;
      if (ends[side].some((c) => c.initializer === initializer)) return undefined;
      const stored = graph.constant(initializer);
      if (stored === undefined) return `${describeNode(node)} has no constant to rescale`;
      if (stored.dtype !== 'float32') return `'${initializer}' is ${String(stored.dtype)}`;
      if (graph.consumers(initializer).length !== 1 || graph.isGraphOutput(initializer))
        return `'${initializer}' has other readers`;
      ends[side].push({ ...constant, power: side === 'producers' ? -1 : 1 });
      return undefined;
    },
  };
  const obstacle = group.join(start, place) ?? close(group, open);
  return obstacle ?? { channels, values, ...ends };
}

/** Follows every value of the group to what makes it and to all that read it. */
function close(group: GrowingGroup, open: string[]): Obstacle {
  const checks: (() => Obstacle)[] = [];
  const visit = (node: Node, value: string): Obstacle => {
    const carrier = carrierOf(node, group);
    if (carrier !== undefined) {
      if (carrier.check !== undefined) checks.push(() => carrier.check?.(node, group));
      return carrier.carry(node, group, value);
    }
    return node.outputs.includes(value) ? produce(node, group) : consume(node, value, group);
  };
  for (let value = open.pop(); value !== undefined; value = open.pop()) {
    const producer = group.graph.producer(value);
    for (const node of [...(producer === undefined ? [] : [producer]), ...group.graph.consumers(value)]) {
      const obstacle = visit(node, value);
      if (obstacle !== undefined) return obstacle;
    }
  }
  for (const check of checks) {
    const obstacle = check();
    if (obstacle !== undefined) return obstacle;
  }
  return undefined;
}
