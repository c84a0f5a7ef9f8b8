/**
 * Gives every node a name and every value inside a subgraph one that no other graph of the model uses: plans name nodes
 * and values without saying which graph they are in.
 */
import {
  mapSubgraphs,
  namesOf,
  renameInputs,
  withGraph,
  type Graph,
  type Model,
  type Node,
} from '../../onnx/index.js';
import { type Pass } from '../pass.js';

export const uniqueNames: Pass = {
  name: 'unique-names',
  run: (model) => {
    const names = createNames(model);
    // A graph's own nodes come before those of its subgraphs: the outer ones keep their names.
    const nodes = (graph: Graph): readonly Node[] =>
      graph.nodes
        .map((node) => named(node, names.node(node)))
        .map((node) => mapSubgraphs(node, (subgraph) => renameGraph(subgraph, names, nodes)));
    for (const name of definedNames(model.graph)) names.value(name);
    const renamed = nodes(model.graph);
    const changed = names.count();
    return {
      model: changed === 0 ? model : withGraph(model, { ...model.graph, nodes: renamed }),
      changed,
      notes: [],
    };
  },
};

function named(node: Node, name: string): Node {
  return name === node.name ? node : { ...node, name };
}

interface Names {
  /** The name of a value defined in the next graph: its own when that is free. */
  value(name: string): string;
  node(node: Node): string;
  /** How many names changed. */
  count(): number;
}

function createNames(model: Model): Names {
  const taken = namesOf(model.graph);
  const values = new Set<string>();
  const nodes = new Set<string>();
  let changed = 0;
  const pick = (used: Set<string>, wanted: string, isFree: boolean): string => {
    let name = wanted;
    if (used.has(name) || !isFree) {
      changed++;
      for (let i = 1; used.has(name) || (taken.has(name) && name !== wanted); i++) name = `${wanted}_${i}`;
    }
    used.add(name);
    return name;
  };
  return {
    value: (name) => pick(values, name, true),
    node: (node) =>
      node.name === ''
        ? pick(nodes, `${node.opType}_${node.outputs.find((o) => o !== '') ?? ''}`, false)
        : pick(nodes, node.name, true),
    count: () => changed,
  };
}

/** Values a graph defines, in order. */
function definedNames(graph: Graph): string[] {
  const names = new Set([
    ...graph.inputs.map((v) => v.name),
    ...graph.initializers.keys(),
    ...graph.nodes.flatMap((n) => n.outputs.filter((o) => o !== '')),
  ]);
  return [...names];
}

function renameGraph(graph: Graph, names: Names, editNodes: (graph: Graph) => readonly Node[]): Graph {
  const to = new Map(definedNames(graph).map((name) => [name, names.value(name)]));
  const rename = (name: string): string => to.get(name) ?? name;
  const isSame = [...to].every(([from, name]) => from === name);
  const renamed = isSame
    ? graph
    : {
        ...graph,
        inputs: graph.inputs.map((v) => ({ ...v, name: rename(v.name) })),
        outputs: graph.outputs.map((v) => ({ ...v, name: rename(v.name) })),
        initializers: new Map([...graph.initializers].map(([name, t]) => [rename(name), t])),
        valueInfo: new Map(
          [...graph.valueInfo].map(([name, v]) => [rename(name), { ...v, name: rename(name) }]),
        ),
        nodes: graph.nodes.map((n) => ({ ...renameInputs(n, to), outputs: n.outputs.map(rename) })),
      };
  const nodes = editNodes(renamed);
  return nodes.every((n, i) => n === renamed.nodes[i]) ? renamed : { ...renamed, nodes };
}
