/** Element types and shapes of every value, from the runtime: all values become outputs and the session tells. */
import {
  freeNames,
  node as createNode,
  subgraphsOf,
  value,
  withGraph,
  type Dim,
  type Graph,
  type Model,
  type Node,
  type TensorType,
  type ValueInfo,
} from '../onnx/index.js';
import { sizeOf } from '../tensor/index.js';
import { openSession } from './session.js';
import { tapsEarly } from './tap-order.js';

/**
 * Types of all values, by name; symbolic dimensions survive, `dims` is undefined where even the rank is unknown. Values
 * of subgraphs are included where the types of what they read are known; they need names of their own across the
 * model, as prepared models have. A value without a tensor type (a sequence, say) is missing.
 */
export async function inferValueTypes(model: Model): Promise<Map<string, TensorType>> {
  const types = await inferMain(model);
  for (const node of model.graph.nodes) {
    for (const { graph } of subgraphsOf(node)) {
      const alone = standAlone(model, graph, node, types);
      if (alone === undefined) continue;
      for (const [name, type] of await inferValueTypes(alone)) if (!types.has(name)) types.set(name, type);
    }
  }
  return types;
}

async function inferMain(model: Model): Promise<Map<string, TensorType>> {
  const light = withoutLargeConstants(withoutDeclarations(model));
  const types = new Map<string, TensorType>();
  for (const input of model.graph.inputs) if (input.type !== undefined) types.set(input.name, input.type);
  for (const [name, stored] of model.graph.initializers)
    types.set(name, { dtype: stored.dtype, dims: stored.dims });
  const ambiguous: string[] = [];
  for (const { name, dtype, dims } of await outputsOf(withOutputs(light, everyOutput(model.graph)))) {
    if (dtype === undefined) continue;
    types.set(name, { dtype, dims });
    if (dims?.length === 0) ambiguous.push(name);
  }
  for (const name of await withoutRank(light, ambiguous))
    types.set(name, { dtype: types.get(name)?.dtype, dims: undefined });
  return types;
}

async function outputsOf(model: Model): Promise<readonly (TensorType & { readonly name: string })[]> {
  const session = await openSession(model, { optimization: 'none', threads: 1 });
  await session.release();
  return session.outputs;
}

/**
 * Which of these values have no known rank. onnxruntime gives an empty shape for a scalar and for an unknown rank
 * alike; the inferred length of the value's shape tells them apart, 0 or unknown.
 */
async function withoutRank(model: Model, names: readonly string[]): Promise<string[]> {
  if (names.length === 0) return [];
  const taken = new Set(everyOutput(model.graph));
  const probes = new Map<string, string>();
  for (const name of names) {
    let probe = `${name}_rank`;
    while (taken.has(probe)) probe += '_';
    probes.set(probe, name);
  }
  const nodes = [...probes].map(([probe, name]) => createNode('Shape', [name], [probe]));
  const graph = { ...model.graph, nodes: [...model.graph.nodes, ...nodes] };
  const shapes = await outputsOf(withOutputs(withGraph(model, graph), [...probes.keys()], true));
  return shapes.flatMap(({ name, dims }) => (dims?.[0] === 0 ? [] : (probes.get(name) ?? [])));
}

/** The model with the types of its inputs only: what exporters note about other values is not always true. */
function withoutDeclarations(model: Model): Model {
  return withGraph(model, { ...model.graph, outputs: [], valueInfo: new Map() });
}

/** Constants above this size cannot be shapes, axes or the like, which inference reads. */
const LARGEST_SHAPE = 64;

/** The model with its weights as inputs: inference needs their types only, and they are most of the bytes. */
function withoutLargeConstants(model: Model): Model {
  const { graph } = model;
  const inputs = new Map(graph.inputs.map((v) => [v.name, v]));
  const initializers = new Map(graph.initializers);
  for (const [name, { dtype, dims }] of graph.initializers) {
    if (dtype === undefined || sizeOf(dims) <= LARGEST_SHAPE) continue;
    initializers.delete(name);
    inputs.set(name, value(name, dtype, dims));
  }
  return withGraph(model, { ...graph, inputs: [...inputs.values()], initializers });
}

/** A subgraph as a model: what it takes from outside becomes input or initializer. Undefined when a type is unknown. */
function standAlone(
  model: Model,
  subgraph: Graph,
  holder: Node,
  types: ReadonlyMap<string, TensorType>,
): Model | undefined {
  const initializers = new Map(subgraph.initializers);
  const inputs: ValueInfo[] = [];
  for (const [i, input] of subgraph.inputs.entries()) {
    const type = input.type ?? bodyInputType(holder, i, types);
    if (type?.dtype === undefined) return undefined;
    inputs.push(value(input.name, type.dtype, type.dims));
  }
  for (const name of freeNames(subgraph)) {
    const stored = model.graph.initializers.get(name);
    const type = types.get(name);
    if (stored !== undefined) initializers.set(name, stored);
    else if (type?.dtype !== undefined) inputs.push(value(name, type.dtype, type.dims));
    else return undefined;
  }
  return withGraph(model, { ...subgraph, inputs, initializers });
}

/** Type of an undeclared input of a Loop or Scan body, from what the node feeds it. */
function bodyInputType(
  holder: Node,
  position: number,
  types: ReadonlyMap<string, TensorType>,
): TensorType | undefined {
  const scalar: readonly Dim[] = [];
  switch (holder.opType) {
    case 'Loop':
      if (position === 0) return { dtype: 'int64', dims: scalar };
      if (position === 1) return { dtype: 'bool', dims: scalar };
      // The shape of a carried value may change from one iteration to the next.
      return { dtype: types.get(holder.inputs[position] ?? '')?.dtype, dims: undefined };
    case 'Scan':
      return { dtype: types.get(holder.inputs[position] ?? '')?.dtype, dims: undefined };
    default:
      return undefined;
  }
}

function everyOutput(graph: Graph): string[] {
  return graph.nodes.flatMap((n) => n.outputs.filter((o) => o !== ''));
}

/**
 * The model with these values as its outputs, besides its own unless `only` is set, and its nodes in an order in which
 * taps run early. Outputs need no declared type.
 */
export function withOutputs(model: Model, names: readonly string[], only = false): Model {
  const own = new Map(model.graph.outputs.map((o) => [o.name, o]));
  const extra = names.filter((n) => !own.has(n)).map((name) => ({ name, type: undefined, proto: {} }));
  const kept = only ? names.flatMap((n) => own.get(n) ?? []) : model.graph.outputs;
  const outputs = [...kept, ...extra];
  return withGraph(model, { ...model.graph, outputs, nodes: tapsEarly(model.graph.nodes) });
}
