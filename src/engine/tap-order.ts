/** When taps run: nodes that look at values of a model on the way. */
import { namesRead, type Node } from '../onnx/index.js';

/**
 * The same nodes in an order that lets taps run as soon as what they look at is there.
 *
 * onnxruntime starts from nodes whose results no node reads, the last of the list first, and runs what each of them needs
 * just before it. Behind each other as they were added, taps would wait until the whole model is done: all activations
 * would stay in memory, and none in a cache. So such nodes go to the end of the list, the deepest first.
 *
 * @param nodes in topological order, which the result keeps
 */
export function tapsEarly(nodes: readonly Node[]): readonly Node[] {
  const read = new Set(nodes.flatMap((node) => [...namesRead(node)]));
  const isTap = (node: Node): boolean => !node.outputs.some((output) => read.has(output));
  const depth = depths(nodes);
  const taps = nodes.filter(isTap).sort((a, b) => (depth.get(b) ?? 0) - (depth.get(a) ?? 0));
  return [...nodes.filter((node) => !isTap(node)), ...taps];
}

/** Nodes on the longest way to each node. */
function depths(nodes: readonly Node[]): Map<Node, number> {
  const ofValue = new Map<string, number>();
  const found = new Map<Node, number>();
  for (const node of nodes) {
    const depth = 1 + Math.max(0, ...[...namesRead(node)].map((name) => ofValue.get(name) ?? 0));
    found.set(node, depth);
    for (const output of node.outputs) ofValue.set(output, depth);
  }
  return found;
}
