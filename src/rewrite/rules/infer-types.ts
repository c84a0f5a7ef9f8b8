/** Notes the element type and shape of every value in the graph that holds it, as onnxruntime infers them. */
import { inferValueTypes } from '../../engine/index.js';
import { value, type Graph, type TensorType, type ValueInfo } from '../../onnx/index.js';
import { mapGraphs, type Pass } from '../pass.js';

export const inferTypes: Pass = {
  name: 'infer-types',
  run: async (model) => {
    const types = await inferValueTypes(model);
    // Later passes only read this, so it does not count as a change.
    return { model: mapGraphs(model, (graph) => annotate(graph, types)), changed: 0, notes: [] };
  },
};

function annotate(graph: Graph, types: ReadonlyMap<string, TensorType>): Graph {
  const outputs = new Set(graph.outputs.map((v) => v.name));
  const valueInfo = new Map<string, ValueInfo>();
  for (const node of graph.nodes) {
    for (const name of node.outputs) {
      const type = types.get(name);
      if (type?.dtype !== undefined && !outputs.has(name))
        valueInfo.set(name, value(name, type.dtype, type.dims));
    }
  }
  return { ...graph, valueInfo };
}
