/** Element types and shapes of every value, from the runtime: all values become outputs and the session tells. */
import { withGraph, type Model, type TensorType } from '../onnx/index.js';
import { openSession } from './session.js';

/**
 * Types of all values of the main graph, by name; symbolic dimensions survive. A value without a tensor type (a
 * sequence, say) is missing.
 */
export async function inferValueTypes(model: Model): Promise<Map<string, TensorType>> {
  const session = await openSession(withOutputs(model, everyOutput(model)), {
    optimization: 'none',
    threads: 1,
  });
  const types = new Map<string, TensorType>();
  for (const input of model.graph.inputs) if (input.type !== undefined) types.set(input.name, input.type);
  for (const [name, stored] of model.graph.initializers)
    types.set(name, { dtype: stored.dtype, dims: stored.dims });
  for (const { name, dtype, dims } of session.outputs)
    if (dtype !== undefined) types.set(name, { dtype, dims });
  await session.release();
  return types;
}

function everyOutput(model: Model): string[] {
  return model.graph.nodes.flatMap((n) => n.outputs.filter((o) => o !== ''));
}

/** The model with these values as its outputs, besides its own unless `only` is set. Outputs need no declared type. */
export function withOutputs(model: Model, names: readonly string[], only = false): Model {
  const own = new Map(model.graph.outputs.map((o) => [o.name, o]));
  const extra = names.filter((n) => !own.has(n)).map((name) => ({ name, type: undefined, proto: {} }));
  const kept = only ? names.flatMap((n) => own.get(n) ?? []) : model.graph.outputs;
  const outputs = [...kept, ...extra];
  return withGraph(model, { ...model.graph, outputs });
}
