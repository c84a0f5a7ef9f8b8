/** What a network remembers of its training data: the statistics that its batch normalizations are given. */
import { describeNode, floatAttribute, loadTensor, namesRead, type Graph } from '../../onnx/index.js';
import { toFloat32 } from '../../tensor/index.js';

/** A value that is normalized, and what training data had there, one entry a channel (axis 1). */
export interface NormalizedValue {
  readonly node: string;
  readonly value: string;
  readonly mean: Float32Array;
  /** √(variance + ε). */
  readonly std: Float32Array;
  readonly epsilon: number;
}

/**
 * The values that batch normalizations of the main graph read, in its order. Those whose statistics are computed are
 * left out: they say nothing.
 */
export function normalizedValues({ nodes, initializers }: Graph): NormalizedValue[] {
  return nodes.flatMap((node) => {
    if (node.opType !== 'BatchNormalization' || node.domain !== '') return [];
    const [value = '', , , mean = '', variance = ''] = node.inputs;
    const [storedMean, storedVariance] = [initializers.get(mean), initializers.get(variance)];
    if (storedMean === undefined || storedVariance === undefined) return [];
    const epsilon = floatAttribute(node, 'epsilon', 1e-5);
    return [
      {
        node: describeNode(node),
        value,
        mean: toFloat32(loadTensor(storedMean, mean)),
        std: toFloat32(loadTensor(storedVariance, variance)).map((v) => Math.sqrt(v + epsilon)),
        epsilon,
      },
    ];
  });
}

/** Whether any of some values follows from a value of the graph. */
export function reaches({ nodes }: Graph, from: string, values: ReadonlySet<string>): boolean {
  const reached = new Set([from]);
  for (const node of nodes)
    if ([...namesRead(node)].some((name) => reached.has(name))) node.outputs.forEach((o) => reached.add(o));
  return [...values].some((value) => reached.has(value));
}
