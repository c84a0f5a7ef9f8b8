/** Identity of a model by content: the graph as fxq writes it, external data included. */
import { sha256 } from '../core/index.js';
import { everyConstant, serializeModel, withGraph, loadTensor, type Model } from '../onnx/index.js';
import { pack } from '../tensor/index.js';

/** SHA-256 over the model and all of its tensors, one at a time, so that large models need not be held whole. */
export function modelHash(model: Model): string {
  const external = [...everyConstant(model.graph)].filter(([, stored]) => stored.source.kind === 'external');
  if (external.length === 0) return sha256(serializeModel(model));
  const names = new Set(external.map(([name]) => name));
  const initializers = new Map([...model.graph.initializers].filter(([name]) => !names.has(name)));
  const inline = serializeModel(withGraph(model, { ...model.graph, initializers }));
  const parts = external.map(([name, stored]) => {
    const t = loadTensor(stored, name);
    return sha256(name, pack(t.dtype, t.data));
  });
  return sha256(inline, ...parts);
}
