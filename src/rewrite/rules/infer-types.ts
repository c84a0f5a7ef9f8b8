/** Notes the element type and shape of every value in the graph that holds it, as onnxruntime infers them. */
import { inferValueTypes } from '../../engine/index.js';
import {
  subgraphsOf,
  value,
  type Graph,
  type Model,
  type TensorType,
  type ValueInfo,
} from '../../onnx/index.js';
import { mapGraphs, type Pass } from '../pass.js';

export const inferTypes: Pass = {
  name: 'infer-types',
  run: async (model) => {
    const types = await inferValueTypes(model);
    // Later passes only read this, so it does not count as a change.
    return { model: mapGraphs(model, (graph) => annotate(graph, types)), changed: 0, notes: [] };
  },
};

/** Types of all values as the model notes them, by name; those of a prepared model are complete. */
export function notedTypes(model: Model): Map<string, TensorType> {
  const types = new Map<string, TensorType>();
  const visit = (graph: Graph): void => {
    for (const { name, type } of [...graph.inputs, ...graph.outputs, ...graph.valueInfo.values()])
      if (type !== undefined) types.set(name, type);
    for (const [name, { dtype, dims }] of graph.initializers) types.set(name, { dtype, dims });
    for (const node of graph.nodes) for (const { graph: subgraph } of subgraphsOf(node)) visit(subgraph);
  };
  visit(model.graph);
  return types;
}

function annotate(graph: Graph, types: ReadonlyMap<string, TensorType>): Graph {
  const typed = (name: string): ValueInfo | undefined => {
    const type = types.get(name);
    return type?.dtype === undefined ? undefined : value(name, type.dtype, type.dims);
  };
  // What an output is declared to be belongs to the model's interface; only a missing type is filled in.
  const outputs = graph.outputs.map((o) => (o.type === undefined ? (typed(o.name) ?? o) : o));
  const declared = new Set(outputs.map((o) => o.name));
  const values = graph.nodes.flatMap((n) => n.outputs).filter((name) => !declared.has(name));
  const valueInfo = new Map(values.flatMap((name) => typed(name) ?? []).map((v) => [v.name, v]));
  return { ...graph, outputs, valueInfo };
}
