/** Where the bytes are: file sizes, bytes by element type, bytes and bits of every layer. */
import { sizeOf } from '../tensor/index.js';
import { type Graph, type StoredTensor } from '../onnx/index.js';
import { type LayerBytes, type SizeResult } from './result.js';
import { bytesOf, constantsOf, cutAt, sharedValues, type Segment } from './segments.js';

/** A model with the bytes its file and external data take. */
export interface StoredModel {
  readonly graph: Graph;
  readonly fileBytes: number;
}

/** Compares what two versions of a model store. Layers with fewer than 16 constant elements are left out. */
export function compareSizes(float: StoredModel, quantized: StoredModel): SizeResult {
  const values = sharedValues(float.graph, quantized.graph);
  const before = new Map(cutAt(float.graph, values).map((segment) => [segment.value, segment]));
  return {
    float: float.fileBytes,
    quantized: quantized.fileBytes,
    floatTypes: bytesByType(float.graph),
    quantizedTypes: bytesByType(quantized.graph),
    layers: cutAt(quantized.graph, values).flatMap((segment) =>
      layerBytes(before.get(segment.value), segment),
    ),
  };
}

/** Element type of the stored tensor that takes the most bytes of a layer, when it takes most of them. */
export function weightType(segment: Segment): string | undefined {
  const largest = [...segment.constants.values()].reduce<StoredTensor | undefined>(
    (best, t) => (best === undefined || bytesOf([t]) > bytesOf([best]) ? t : best),
    undefined,
  );
  return largest !== undefined && sizeOf(largest.dims) >= SMALLEST ? largest.dtype : undefined;
}

/** Scalars and axes of shape arithmetic are no weights. */
const SMALLEST = 16;

function layerBytes(float: Segment | undefined, quantized: Segment): LayerBytes[] {
  if (float === undefined) return [];
  const elements = [...float.constants.values()].reduce((sum, t) => sum + sizeOf(t.dims), 0);
  if (elements < SMALLEST) return [];
  const bytes = bytesOf(quantized.constants.values());
  return [
    {
      node: quantized.node.name,
      opType: quantized.node.opType,
      floatBytes: bytesOf(float.constants.values()),
      bytes,
      bits: (8 * bytes) / elements,
    },
  ];
}

function bytesByType(graph: Graph): Record<string, number> {
  const sums = new Map<string, number>();
  for (const stored of constantsOf(graph).values()) {
    const type = stored.dtype ?? 'other';
    sums.set(type, (sums.get(type) ?? 0) + bytesOf([stored]));
  }
  return Object.fromEntries([...sums].sort(([a, x], [b, y]) => y - x || (a < b ? -1 : 1)));
}
