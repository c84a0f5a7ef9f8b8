/**
 * 16-bit saturation on processors without VNNI: their 8-bit matrix kernels multiply unsigned activations by signed
 * weights in pairs and add each pair in int16 (`vpmaddubsw`), which saturates silently. Decided from the codes alone.
 */
import { operatorFacts, intAttribute, type Graph, type Node } from '../onnx/index.js';
import { type Plan, type SolvedWeight } from '../plan/index.js';
import { sizeOf } from '../tensor/index.js';

/** Output channels of one weight in which some pair of products can leave int16. */
export interface SaturationRisk {
  readonly node: string;
  readonly initializer: string;
  readonly channels: readonly number[];
  readonly channelCount: number;
}

const ACTIVATION_MAX = 255;
const INT16 = { low: -32768, high: 32767 };

/**
 * Layers whose accumulation can saturate without VNNI, for the full range of uint8 activations.
 *
 * Pairs are neighbours along the reduction in the order onnxruntime packs it: kernel position outside, input channel
 * inside. Depthwise convolutions use another kernel and cannot saturate.
 */
export function findSaturation(
  graph: Graph,
  plan: Plan,
  solved: ReadonlyMap<string, SolvedWeight>,
): SaturationRisk[] {
  return graph.nodes.flatMap((node) => {
    const nodePlan = plan.nodes[node.name];
    if (nodePlan?.decision !== 'static' || operatorFacts(node)?.category !== 'weighted') return [];
    const [initializer] = Object.values(nodePlan.weights);
    const weight = solved.get(initializer ?? '');
    const dims = graph.initializers.get(initializer ?? '')?.dims;
    const id = nodePlan.inputs.find((input) => input !== null);
    if (weight === undefined || dims === undefined || id == null) return [];
    if (plan.activations[id]?.format !== 'uint8' || plan.weights[weight.initializer]?.format !== 'int8')
      return [];
    const rows = reductionOrder(node, dims);
    const channels = rows.flatMap((row, channel) => (pairSaturates(weight.codes, row) ? [channel] : []));
    return channels.length === 0
      ? []
      : [{ node: node.name, initializer: weight.initializer, channels, channelCount: rows.length }];
  });
}

/**
 * Weight scales that keep every code of a channel at risk within ±64, so that no pair can saturate; it costs these
 * channels one bit.
 */
export function scalesWithoutSaturation(risk: SaturationRisk, solved: SolvedWeight): number[] {
  const scales = Array.from(solved.scale, () => 0);
  const isShared = solved.scale.length === 1;
  for (const channel of risk.channels) {
    const at = isShared ? 0 : channel;
    scales[at] = ((solved.scale[at] ?? 0) * 127) / 64;
  }
  return scales;
}

/** For every output channel, indices into the weight along the reduction; none for layers that cannot saturate. */
function reductionOrder(node: Node, dims: readonly number[]): Int32Array[] {
  if (node.opType === 'Conv') {
    const [outputs = 1, inputs = 1] = dims;
    const kernel = sizeOf(dims.slice(2));
    if (inputs === 1 && intAttribute(node, 'group', 1) > 1) return [];
    return Array.from({ length: outputs }, (_, o) =>
      Int32Array.from({ length: inputs * kernel }, (_, k) => {
        const position = Math.floor(k / inputs);
        return (o * inputs + (k % inputs)) * kernel + position;
      }),
    );
  }
  const [rows = 1, columns = 1] = dims.slice(-2);
  const transposed = node.opType === 'Gemm' && intAttribute(node, 'transB', 0) === 1;
  const [channels, depth] = transposed ? [rows, columns] : [columns, rows];
  return Array.from({ length: channels }, (_, c) =>
    Int32Array.from({ length: depth }, (_, k) => (transposed ? c * columns + k : k * columns + c)),
  );
}

function pairSaturates(codes: Int32Array, row: Int32Array): boolean {
  for (let k = 0; k + 1 < row.length; k += 2) {
    const a = codes[row[k] ?? 0] ?? 0;
    const b = codes[row[k + 1] ?? 0] ?? 0;
    const high = ACTIVATION_MAX * (Math.max(a, 0) + Math.max(b, 0));
    const low = ACTIVATION_MAX * (Math.min(a, 0) + Math.min(b, 0));
    if (high > INT16.high || low < INT16.low) return true;
  }
  return false;
}
