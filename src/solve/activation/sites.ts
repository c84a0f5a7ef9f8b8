/** Where activations may be sparse: layers with a constant weight that read what an activation function gave. */
import { GraphEditor, operatorFacts, type Graph } from '../../onnx/index.js';
import { findWeightedLayers, layerWeight, type WeightedLayer } from '../layers.js';

/** A layer whose small inputs could be left out. A neuron is an input feature, or an input channel at one position. */
export interface ActivationSite {
  readonly layer: WeightedLayer;
  /** The function behind its input: Relu, Gelu, Sigmoid … */
  readonly activation: string;
  /** ‖W[:, i]‖ for every input channel: what one unit of it contributes at most. */
  readonly norms: Float32Array;
  /** Trailing axes behind the channel axis of the input. */
  readonly trailing: number;
}

const ACTIVATIONS: ReadonlySet<string> = new Set([
  'Celu',
  'Clip',
  'Elu',
  'Erf',
  'Gelu',
  'HardSigmoid',
  'HardSwish',
  'LeakyRelu',
  'Mish',
  'PRelu',
  'Relu',
  'Selu',
  'Sigmoid',
  'Softplus',
  'Swish',
  'Tanh',
  'ThresholdedRelu',
]);

/** Layers behind activation functions, also through movement, pooling of maxima and gating products. */
export function findActivationSites(graph: Graph): ActivationSite[] {
  const editor = new GraphEditor(graph);
  return findWeightedLayers(graph).flatMap((layer) => {
    const { kind } = layer.patches;
    if (kind === 'lookup') return [];
    const activation = activationBehind(editor, layer.input);
    if (activation === undefined) return [];
    const trailing = kind === 'window' ? layer.layout.dims.length - 2 : kind === 'columns' ? 1 : 0;
    return [{ layer, activation, norms: neuronNorms(graph, layer), trailing }];
  });
}

function activationBehind(editor: GraphEditor, value: string): string | undefined {
  const node = editor.producer(value);
  if (node === undefined || editor.constant(value) !== undefined) return undefined;
  if (ACTIVATIONS.has(node.opType)) return node.opType;
  const facts = operatorFacts(node);
  if (facts?.category === 'movement' || node.opType === 'MaxPool')
    return activationBehind(editor, node.inputs[0] ?? '');
  if (node.opType !== 'Mul') return undefined;
  return node.inputs.map((input) => activationBehind(editor, input)).find((found) => found !== undefined);
}

/** Norm of the weights that each input channel meets, over outputs and kernel positions. */
function neuronNorms(graph: Graph, layer: WeightedLayer): Float32Array {
  const { groups, out, in: depth, kernel } = layer.layout;
  const weight = layerWeight(graph, layer);
  const norms = new Float32Array(groups * depth);
  let at = 0;
  for (let g = 0; g < groups; g++)
    for (let o = 0; o < out; o++)
      for (let i = 0; i < depth; i++)
        for (let k = 0; k < kernel; k++, at++) {
          const w = weight[at] as number;
          norms[g * depth + i] = (norms[g * depth + i] as number) + w * w;
        }
  return norms.map(Math.sqrt);
}

/**
 * Largest magnitudes that are left out at a threshold on contributions |x_i|·‖W[:, i]‖, one a channel. Channels without
 * weights are left out whole.
 */
export function channelLimits({ norms }: ActivationSite, threshold: number): Float32Array {
  return norms.map((norm) => (norm === 0 ? LARGEST : Math.min(threshold / norm, LARGEST)));
}

const LARGEST = 3.4028234e38;

/** Shape in which one number a channel broadcasts over the input. */
export function limitShape({ norms, trailing }: ActivationSite): number[] {
  return [norms.length, ...Array.from({ length: trailing }, () => 1)];
}
