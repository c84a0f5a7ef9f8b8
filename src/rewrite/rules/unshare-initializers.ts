/**
 * Gives a shared initializer one copy for each way its readers would quantize it: a tied embedding and head whose
 * scales run along different axes, a bias of two layers (its scale is that of input and weight), a weight that is also
 * added somewhere. Readers that agree go on sharing.
 */
import {
  namesOf,
  operatorFacts,
  subgraphsOf,
  weightSlots,
  type Graph,
  type Model,
  type Node,
  type StoredTensor,
} from '../../onnx/index.js';
import { mapGraphs, type Pass } from '../pass.js';

export const unshareInitializers: Pass = {
  name: 'unshare-initializers',
  run: (model) => {
    const shared = sharedInitializers(model);
    const changed = [...shared.values()].reduce((sum, { copies }) => sum + copies.size - 1, 0);
    return {
      model: changed === 0 ? model : mapGraphs(model, (g) => withCopies(g, shared)),
      changed,
      notes: [],
    };
  },
};

interface Shared {
  readonly stored: StoredTensor;
  /** Name of the copy for each way to quantize the initializer; the first one is the initializer's own. */
  readonly copies: Map<string, string>;
}

/** How a node would quantize the initializer it reads at an input; readers of equal texts share. */
function wayOf(node: Node, input: number, { dims }: StoredTensor): string {
  const slot = weightSlots(node).find((s) => s.input === input);
  if (slot !== undefined) return `weight, scales along axis ${slot.channelAxis(node, dims.length)}`;
  const facts = operatorFacts(node);
  return facts?.category === 'weighted' && facts.bias === input ? `bias of ${node.name}` : 'value';
}

/** Float initializers of all graphs, with their copies. */
function sharedInitializers(model: Model): Map<string, Shared> {
  const found = new Map<string, Shared>();
  const taken = namesOf(model.graph);
  const visit = (graph: Graph): void => {
    for (const [name, stored] of graph.initializers)
      if (stored.dtype?.includes('float') === true) found.set(name, { stored, copies: new Map() });
    for (const node of graph.nodes) {
      for (const [input, name] of node.inputs.entries()) {
        const shared = found.get(name);
        const way = shared && wayOf(node, input, shared.stored);
        if (way === undefined || shared?.copies.has(way) !== false) continue;
        shared.copies.set(way, shared.copies.size === 0 ? name : uniqueName(`${name}_copy`, taken));
      }
      for (const { graph: subgraph } of subgraphsOf(node)) visit(subgraph);
    }
  };
  visit(model.graph);
  return new Map([...found].filter(([, { copies }]) => copies.size > 1));
}

function uniqueName(base: string, taken: Set<string>): string {
  let name = base;
  for (let i = 1; taken.has(name); i++) name = `${base}_${i}`;
  taken.add(name);
  return name;
}

function withCopies(graph: Graph, shared: ReadonlyMap<string, Shared>): Graph {
  const initializers = new Map(graph.initializers);
  for (const [name, stored] of graph.initializers)
    for (const copy of shared.get(name)?.copies.values() ?? []) initializers.set(copy, stored);
  const nodes = graph.nodes.map((node) => {
    const inputs = node.inputs.map((name, i) => {
      const entry = shared.get(name);
      return entry?.copies.get(wayOf(node, i, entry.stored)) ?? name;
    });
    return inputs.every((name, i) => name === node.inputs[i]) ? node : { ...node, inputs };
  });
  return { ...graph, nodes, initializers };
}
