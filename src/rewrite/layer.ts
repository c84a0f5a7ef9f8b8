/** Weighted layers as `y = scale ⊙ (W x) + shift`: folding a per-channel affine map into weight and bias. */
import {
  float,
  floatAttribute,
  node as createNode,
  weightSlots,
  withAttributes,
  type Node,
} from '../onnx/index.js';
import { sizeOf, stridesOf, type Tensor } from '../tensor/index.js';
import { type Affine } from './affine.js';
import { channelVector, realsOf, roundReals, type ChannelAxis } from './constants.js';
import { isOperator } from './pattern.js';
import { isRefusal, refuse, type Refusal } from './rule.js';
import { notConstant, type Scope } from './scope.js';

/** A layer with constant weight and bias. */
export interface Layer extends ChannelAxis {
  readonly node: Node;
  readonly weight: Tensor;
  /** One number an output channel; undefined when the layer has none. */
  readonly bias: Float64Array | undefined;
}

/** Operators with one weight at input 1, by the input of their bias. */
const BIAS_INPUT = { Conv: 2, ConvTranspose: 2, Gemm: 2, MatMul: undefined } as const;

/** Whether a node is a layer that may take an affine map; a product of two activations is none. */
export function isFoldableLayer(node: Node | undefined, scope: Scope): node is Node {
  if (node === undefined || node.domain !== '' || !(node.opType in BIAS_INPUT)) return false;
  return !isOperator(node, 'Gemm', 'MatMul') || scope.constant(node.inputs[1] ?? '') !== undefined;
}

function biasInput(node: Node): number | undefined {
  return BIAS_INPUT[node.opType as keyof typeof BIAS_INPUT];
}

/** The layer at a node, or why it cannot be changed. */
export function layerAt(node: Node, scope: Scope): Layer | Refusal {
  const name = node.inputs[1] ?? '';
  const weight = scope.constantTensor(name);
  if (weight === undefined) return refuse(notConstant(name, scope) ?? `'${name}' is not constant`);
  if (realsOf(weight) === undefined) return refuse(`'${name}' is ${weight.dtype}`);
  if (weight.dims.length < 2) return refuse(`'${name}' is a vector, so the layer has no output channels`);
  const channels = channelIndex(node, weight).channels;
  const axis = { channels, ...channelPlace(node, weight, scope) };
  const bias = biasOf(node, axis, scope);
  return isRefusal(bias) ? bias : { node, weight, bias, ...axis };
}

/** Channels are axis 1 of a convolution's output and the last of a matrix product's. */
function channelPlace(node: Node, weight: Tensor, scope: Scope): Pick<ChannelAxis, 'fromEnd' | 'rank'> {
  switch (node.opType) {
    case 'Gemm':
      return { fromEnd: 1, rank: 2 };
    case 'MatMul': {
      const rank = scope.type(node.inputs[0] ?? '')?.dims?.length;
      return { fromEnd: 1, rank: rank === undefined ? undefined : Math.max(rank, weight.dims.length) };
    }
    default:
      return { fromEnd: weight.dims.length - 1, rank: weight.dims.length };
  }
}

/** β·C of Gemm, or the bias as it is. */
function biasOf(node: Node, axis: ChannelAxis, scope: Scope): Float64Array | Refusal | undefined {
  const name = node.inputs[biasInput(node) ?? -1] ?? '';
  if (name === '') return undefined;
  const bias = scope.constantTensor(name);
  if (bias === undefined) return refuse(notConstant(name, scope) ?? `'${name}' is not constant`);
  const values = channelVector(bias, { ...axis, fromEnd: 1 }, name);
  if (isRefusal(values)) return values;
  const beta = node.opType === 'Gemm' ? floatAttribute(node, 'beta', 1) : 1;
  return values.map((b) => beta * b);
}

/** Number of output channels, and the channel of each element of the weight. */
function channelIndex(node: Node, weight: Tensor): { channels: number; channelOf: (i: number) => number } {
  const slot = weightSlots(node).find((s) => s.input === 1);
  const { dims } = weight;
  const axis = slot?.channelAxis(node, dims.length) ?? 0;
  const stride = stridesOf(dims)[axis] ?? 1;
  const size = dims[axis] ?? 1;
  // Groups split axis 0: of ConvTranspose [C, M/g, k…] each group of rows has its own M/g channels.
  const groups = axis === 0 ? 1 : (slot?.groups(node) ?? 1);
  const groupStride = sizeOf(dims) / groups;
  return {
    channels: groups * size,
    channelOf: (i) => Math.floor(i / groupStride) * size + (Math.floor(i / stride) % size),
  };
}

/** `W′ = scale ⊙ W`, `b′ = scale ⊙ b + shift`, in float64; a refusal when the result is not finite. */
export function foldAffine(layer: Layer, { scale, shift }: Affine): FoldedLayer | Refusal {
  const { node, weight, channels } = layer;
  const { channelOf } = channelIndex(node, weight);
  const isScaled = scale.some((s) => s !== 1);
  const values = (realsOf(weight) ?? new Float64Array()).map((w, i) => w * (scale[channelOf(i)] ?? NaN));
  const bias = Float64Array.from(shift, (c, k) => (layer.bias?.[k] ?? 0) * (scale[k] ?? NaN) + c);
  const folded = {
    layer,
    weight: isScaled ? roundReals(weight, weight.dims, values) : undefined,
    bias:
      layer.bias !== undefined || bias.some((b) => b !== 0)
        ? roundReals(weight, [channels], bias)
        : undefined,
  };
  for (const t of [folded.weight, folded.bias])
    if (t !== undefined && realsOf(t)?.some((v) => !Number.isFinite(v)))
      return refuse('the folded weights would not be finite');
  return folded;
}

export interface FoldedLayer {
  readonly layer: Layer;
  /** Undefined when unchanged. */
  readonly weight: Tensor | undefined;
  readonly bias: Tensor | undefined;
}

/** What a layer reads and writes once it is folded. */
export interface Ends {
  readonly input: string;
  readonly output: string;
}

/**
 * Puts the folded layer in the place of the layer, between other ends; the nodes it took in must be gone. Weight and bias
 * become new initializers, so that others may go on reading the old ones.
 */
export function replaceLayer({ layer, weight, bias }: FoldedLayer, ends: Ends, { graph }: Scope): void {
  const { node } = layer;
  const inputs = [ends.input, ...node.inputs.slice(1)];
  if (weight !== undefined) inputs[1] = graph.addInitializer(foldedName(inputs[1] ?? ''), weight);
  const slot = biasInput(node);
  if (bias !== undefined && slot === undefined) {
    // MatMul has no bias: the shift stays behind it as an addition.
    const product = graph.uniqueName(`${ends.output}_product`);
    const shift = graph.addInitializer(`${node.name}_shift`, bias);
    graph.replace(node, { ...node, inputs, outputs: [product] });
    const name = graph.uniqueName(`${node.name}_add`);
    graph.add(createNode('Add', [product, shift], [ends.output], {}, { name }));
    return;
  }
  if (bias !== undefined && slot !== undefined)
    inputs[slot] = graph.addInitializer(foldedName(inputs[slot] || `${node.name}_bias`), bias);
  const beta = node.opType === 'Gemm' && node.attributes.has('beta') ? { beta: float(1) } : {};
  graph.replace(node, { ...withAttributes(node, beta), inputs, outputs: [ends.output] });
}

/** Σ W over what each output channel sums, times α of Gemm: what the layer makes of an input of ones. */
export function weightSums({ node, weight, channels }: Layer): Float64Array {
  const { channelOf } = channelIndex(node, weight);
  const alpha = node.opType === 'Gemm' ? floatAttribute(node, 'alpha', 1) : 1;
  const sums = new Float64Array(channels);
  for (const [i, w] of (realsOf(weight) ?? []).entries())
    sums[channelOf(i)] = (sums[channelOf(i)] ?? 0) + alpha * w;
  return sums;
}

/** `w` and `w_folded_1` both give `w_folded`, so that names do not grow with every fold. */
function foldedName(name: string): string {
  return `${name.replace(/_folded(_\d+)?$/, '')}_folded`;
}
