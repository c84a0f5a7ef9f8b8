/** Blocks of a model: parts between values that everything passes through, as in BRECQ (arXiv 2102.05426). */
import { namesRead, type Graph, type Node } from '../../onnx/index.js';
import { type ValueTypes } from '../../plan/index.js';

/** Consecutive nodes with the values that enter and leave. */
export interface Block {
  readonly nodes: readonly Node[];
  /** Values from before the block that it reads. */
  readonly inputs: readonly string[];
  /** Floating-point values that are compared with the float model: the one that is handed on, or the graph's outputs. */
  readonly outputs: readonly string[];
}

/**
 * Cuts a graph wherever a single floating-point value is handed on, once a block has enough weighted nodes to interact.
 *
 * @param isWeighted nodes that count
 * @param least      how many of them a block has at least
 */
export function findBlocks(
  graph: Graph,
  types: ValueTypes,
  isWeighted: (node: Node) => boolean,
  least = 2,
): Block[] {
  const isFloat = (name: string): boolean => types.get(name)?.dtype === 'float32';
  const outputs = graph.outputs.map((o) => o.name);
  const lastRead = new Map(outputs.map((name) => [name, graph.nodes.length]));
  for (const [at, node] of graph.nodes.entries())
    for (const name of namesRead(node)) lastRead.set(name, Math.max(at, lastRead.get(name) ?? 0));
  const live = new Set(graph.inputs.map((v) => v.name));
  const blocks: Block[] = [];
  let nodes: Node[] = [];
  const close = (ends: readonly string[]): void => {
    const made = new Set(nodes.flatMap((n) => n.outputs));
    const read = new Set(nodes.flatMap((n) => [...namesRead(n)]));
    const inputs = [...read].filter(
      (name) => name !== '' && !made.has(name) && !graph.initializers.has(name),
    );
    blocks.push({ nodes, inputs, outputs: ends.filter((name) => made.has(name) && isFloat(name)) });
    nodes = [];
  };
  for (const [at, node] of graph.nodes.entries()) {
    nodes.push(node);
    for (const name of node.outputs) if (name !== '') live.add(name);
    for (const name of [...live]) if ((lastRead.get(name) ?? -1) <= at) live.delete(name);
    const handedOn = [...live].filter(isFloat);
    const isLast = at === graph.nodes.length - 1;
    if (isLast) close(outputs);
    else if (handedOn.length === 1 && nodes.filter(isWeighted).length >= least) close(handedOn);
  }
  return blocks;
}
