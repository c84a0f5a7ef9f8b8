/** A study of a small model on seeded samples, for tests of sensitivities. */
import { createContext, createRng } from '../../src/core/index.js';
import { NO_CARRY, inferValueTypes, type Batch } from '../../src/engine/index.js';
import { parseFormat, quantize, dequantize, byChannel, fitGroups } from '../../src/formats/index.js';
import { loadTensor, type Model } from '../../src/onnx/index.js';
import { candidateId, searchLayers, type LayerCandidate, type SearchLayer } from '../../src/search/layers.js';
import { chooseLoss, outputsOf, type Study } from '../../src/search/sensitivity/index.js';
import { type Realization } from '../../src/search/simulate.js';
import { tensor, toFloat32 } from '../../src/tensor/index.js';
import { sizeOf } from '../../src/tensor/index.js';

export const weightsOnly = (...formats: string[]): LayerCandidate[] =>
  formats.map((weights) => ({ weights, activations: 'float', granularity: 'channel', solver: 'nearest' }));

/** Standard normal samples of an input [batch, …dims] in batches of eight. */
export function samplesOf(name: string, dims: readonly number[], count: number, seed = 1): Batch[] {
  const rng = createRng(seed);
  return Array.from({ length: Math.ceil(count / 8) }, (_, b) => {
    const size = Math.min(8, count - b * 8);
    const data = Float32Array.from({ length: size * sizeOf(dims) }, () => rng.normal());
    return { first: b * 8, count: size, inputs: new Map([[name, tensor('float32', [size, ...dims], data)]]) };
  });
}

/** Every layer a group of its own, weights rounded to nearest per channel, inputs to the range ±4. */
export async function studyOf(
  model: Model,
  batches: readonly Batch[],
  candidates: readonly LayerCandidate[],
): Promise<Study & { readonly layers: readonly SearchLayer[] }> {
  const types = await inferValueTypes(model);
  const everyNode = new Proxy({}, { get: () => ({ weights: new Proxy({}, { get: () => 'weight' }) }) });
  const layers = searchLayers(model, types, { nodes: everyNode as never });
  const output = model.graph.outputs[0]!.name;
  const reference = await outputsOf(model, batches, output, createContext({ threads: 1 }));
  const cache = new Map<string, Realization>();
  return {
    model,
    types,
    layers,
    batches,
    data: {
      samples: batches.reduce((sum, b) => sum + b.count, 0),
      carry: NO_CARRY,
      batches: async function* (_, from = 0, to = Infinity) {
        yield* batches.filter((b) => b.first >= from && b.first < to);
      },
    },
    output,
    loss: chooseLoss(reference[0]!),
    reference,
    groups: layers.map((layer) => ({ layers: [layer], candidates })),
    realize: (layer, candidate) => {
      const key = `${layer.node} ${candidateId(candidate)}`;
      const known = cache.get(key) ?? realize(model, layer, candidate);
      cache.set(key, known);
      return Promise.resolve(known);
    },
  };
}

function realize(
  model: Model,
  { layer }: SearchLayer,
  { weights, activations }: LayerCandidate,
): Realization {
  const values = toFloat32(loadTensor(model.graph.initializers.get(layer.weight)!));
  const grid = (): Realization['activation'] => {
    const { low, high } = parseFormat(activations);
    return { scale: Math.fround(8 / (high - low)), zeroPoint: Math.round((low + high) / 2), low, high };
  };
  const activation = activations === 'float' ? {} : { activation: grid()! };
  if (weights === 'float') return { weight: values, ...activation };
  const format = parseFormat(weights);
  const grouping = byChannel(layer.layout.dims, layer.layout.outAxis);
  const parameters = fitGroups(format, values, grouping, { method: 'mse', symmetric: true });
  return {
    weight: dequantize(format, quantize(format, values, grouping, parameters), grouping),
    ...activation,
  };
}
