/** Values in the late part of a network where everything flows through one tensor: the ends of its blocks. */
import { namesRead, type Graph, type Model } from '../../onnx/index.js';
import { type TensorType } from '../../onnx/index.js';
import { findWeightedLayers } from '../layers.js';

/** Features compared at most: later ones come first. */
const MOST = 4;

/**
 * Ends of blocks, in graph order: computed values through which all later nodes see what came before, in the second half
 * of the weighted layers and not after the last one. Where branches never meet, the outputs of late layers.
 */
export function lateFeatures({ graph }: Model, types: ReadonlyMap<string, TensorType>): string[] {
  const layers = findWeightedLayers(graph).filter((layer) => layer.patches.kind !== 'lookup');
  const late = layers.slice(Math.floor(layers.length / 2));
  const [first, last] = [late[0], late.at(-1)];
  if (first === undefined || last === undefined) return [];
  const from = graph.nodes.indexOf(first.node);
  const to = graph.nodes.indexOf(last.node);
  const isFloat = (value: string): boolean => types.get(value)?.dtype === 'float32';
  const weighted = new Set(layers.map((layer) => layer.node));
  // Of several in a row, with no layer between them, the last: behind the normalization and the activation.
  const ends: string[] = [];
  let open: string | undefined;
  for (const [position, value] of bottlenecks(graph)) {
    const node = graph.nodes[position];
    if (position < from || position >= to) continue;
    if (node !== undefined && weighted.has(node) && open !== undefined) {
      ends.push(open);
      open = undefined;
    }
    if (value !== undefined && isFloat(value)) open = value;
  }
  if (open !== undefined) ends.push(open);
  const found =
    ends.length > 0
      ? ends
      : late
          .slice(0, -1)
          .map((layer) => layer.output)
          .filter(isFloat);
  return found.slice(-MOST);
}

/** After every node, the one value that later nodes and outputs read of all computed so far; undefined for several. */
function bottlenecks({ nodes, inputs, outputs, initializers }: Graph): [number, string | undefined][] {
  const lastRead = new Map<string, number>();
  nodes.forEach((node, i) => {
    for (const name of namesRead(node)) lastRead.set(name, i);
  });
  for (const { name } of outputs) lastRead.set(name, nodes.length);
  const live = new Set(inputs.map((v) => v.name).filter((name) => !initializers.has(name)));
  const constant = new Set(initializers.keys());
  return nodes.map((node, i) => {
    // What follows from constants alone carries nothing of the sample.
    const isConstant = [...namesRead(node)].every((name) => constant.has(name));
    for (const name of node.outputs) (isConstant ? constant : live).add(name);
    for (const name of live) if ((lastRead.get(name) ?? -1) <= i) live.delete(name);
    const [only] = live;
    return [i, live.size === 1 ? only : undefined];
  });
}
