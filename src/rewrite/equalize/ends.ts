/** Where channel groups begin and end: layers and normalizations, and how their constants take a factor a channel. */
import { describeNode, intAttribute, type GraphEditor, type Node } from '../../onnx/index.js';
import { sizeOf, stridesOf } from '../../tensor/index.js';
import { type GrowingGroup, type Obstacle, type Place, type Shapes } from './group.js';

/** Something whose results can be divided channel by channel. */
export interface Source {
  readonly value: string;
  readonly place: Place;
  readonly channels: number;
}

const LAYERS = ['Conv', 'ConvTranspose', 'Gemm', 'MatMul'] as const;
type LayerType = (typeof LAYERS)[number];

function isLayer(node: Node): node is Node & { readonly opType: LayerType } {
  return node.domain === '' && (LAYERS as readonly string[]).includes(node.opType);
}

/** Normalizations with a gain, by the axis of their channels. */
const NORMALIZATIONS: Readonly<Record<string, 'last' | 'second'>> = {
  LayerNormalization: 'last',
  RMSNormalization: 'last',
  SimplifiedLayerNormalization: 'last',
  InstanceNormalization: 'second',
};

/** Channel of every element of a constant whose channels lie along one axis. */
export function alongAxis(dims: readonly number[], { axis, inner }: Place): (element: number) => number {
  const stride = stridesOf(dims)[axis] ?? 1;
  const size = dims[axis] ?? 1;
  return (element) => Math.floor((Math.floor(element / stride) % size) / inner);
}

/** The first output of a layer, a normalization or a product with a constant vector, as the start of a group. */
export function sourceAt(node: Node, graph: GraphEditor, shapes: Shapes): Source | undefined {
  const [value] = node.outputs;
  const dims = value === undefined ? undefined : shapes.get(value)?.dims;
  if (value === undefined || dims === undefined) return undefined;
  const at = (axis: number): Source | undefined => {
    const channels = dims[axis];
    return typeof channels === 'number' ? { value, place: { axis, inner: 1 }, channels } : undefined;
  };
  if (isLayer(node)) {
    if (graph.constant(node.inputs[1] ?? '') === undefined) return undefined;
    return at(node.opType === 'MatMul' ? dims.length - 1 : 1);
  }
  const normalized = NORMALIZATIONS[node.opType];
  if (normalized !== undefined) return at(normalized === 'last' ? dims.length - 1 : 1);
  if (node.domain !== '' || node.opType !== 'Mul') return undefined;
  const gain = node.inputs.map((name) => graph.constant(name)).find((c) => c !== undefined);
  const long = gain?.dims.flatMap((d, i) => (d > 1 ? [i] : [])) ?? [];
  if (gain === undefined || long.length !== 1) return undefined;
  return at(dims.length - gain.dims.length + (long[0] ?? 0));
}

/** Divides what a node gives: rows of a layer's weight and its bias, or gain and shift of a normalization. */
export function produce(node: Node, group: GrowingGroup): Obstacle {
  const output = node.outputs[0] ?? '';
  const place = group.place(output);
  if (place === undefined) return `${describeNode(node)} gives more than one result`;
  if (isLayer(node)) {
    const [, weight = '', bias = ''] = node.inputs;
    const stored = group.graph.constant(weight);
    if (stored === undefined) return `'${weight}' is not constant`;
    if (place.inner !== 1 || place.axis !== outputAxis(node, group)) return notAlong(node);
    return (
      group.scale('producers', {
        initializer: weight,
        node,
        part: 'weight',
        channelOf: outputChannel(node, stored.dims),
      }) ?? (bias === '' ? undefined : vector(node, bias, group))
    );
  }
  const normalized = NORMALIZATIONS[node.opType];
  if (normalized === undefined) return `${describeNode(node)} does not pass factors on`;
  const axis = normalized === 'last' ? (group.dims(output)?.length ?? 0) - 1 : 1;
  if (place.axis !== axis || place.inner !== 1) return notAlong(node);
  const [, gain = '', shift = ''] = node.inputs;
  return vector(node, gain, group) ?? (shift === '' ? undefined : vector(node, shift, group));
}

/** Multiplies the weights that read a value. */
export function consume(node: Node, value: string, group: GrowingGroup): Obstacle {
  const place = group.place(value);
  if (place === undefined || !isLayer(node) || node.inputs.indexOf(value) !== 0 || node.inputs[1] === value)
    return `${describeNode(node)} does not pass factors on`;
  const [, weight = ''] = node.inputs;
  const stored = group.graph.constant(weight);
  if (stored === undefined) return `${describeNode(node)} has no constant weight`;
  const { dims } = stored;
  const isConvolution = node.opType === 'Conv' || node.opType === 'ConvTranspose';
  const rank = group.dims(value)?.length ?? 0;
  if (place.axis !== (isConvolution ? 1 : rank - 1)) return notAlong(node);
  if (isConvolution && place.inner !== 1) return notAlong(node);
  if (node.opType === 'Gemm' && intAttribute(node, 'transA', 0) !== 0) return notAlong(node);
  const channelOf = inputChannel(node, dims);
  return group.scale('consumers', {
    initializer: weight,
    node,
    part: 'weight',
    channelOf: (i) => Math.floor(channelOf(i) / place.inner),
  });
}

const notAlong = (node: Node): string => `channels do not lie along the axis that ${describeNode(node)} sums`;

function outputAxis(node: Node, group: GrowingGroup): number {
  return node.opType === 'MatMul' ? (group.dims(node.outputs[0] ?? '')?.length ?? 0) - 1 : 1;
}

/** A constant with one number a channel. */
function vector(node: Node, name: string, group: GrowingGroup): Obstacle {
  const dims = group.graph.constant(name)?.dims;
  if (dims === undefined) return `'${name}' is not constant`;
  if (sizeOf(dims) !== group.channels || dims.at(-1) !== group.channels)
    return `'${name}' is not one number a channel`;
  return group.scale('producers', { initializer: name, node, part: 'vector', channelOf: (i) => i });
}

/** Output channel of every element of a layer's weight. */
export function outputChannel(node: Node, dims: readonly number[]): (element: number) => number {
  const [first = 1, second = 1] = dims;
  switch (node.opType) {
    case 'ConvTranspose': {
      // [C, M/g, k…]: each group of rows has its own M/g channels.
      const kernel = sizeOf(dims.slice(2));
      const perGroup = first / intAttribute(node, 'group', 1);
      return (i) =>
        Math.floor(Math.floor(i / (kernel * second)) / perGroup) * second + (Math.floor(i / kernel) % second);
    }
    case 'MatMul':
      return alongAxis(dims, { axis: dims.length - 1, inner: 1 });
    case 'Gemm':
      return alongAxis(dims, { axis: intAttribute(node, 'transB', 0) === 0 ? 1 : 0, inner: 1 });
    default:
      return alongAxis(dims, { axis: 0, inner: 1 });
  }
}

/** Input channel of every element of a layer's weight. */
export function inputChannel(node: Node, dims: readonly number[]): (element: number) => number {
  const [first = 1, second = 1] = dims;
  switch (node.opType) {
    case 'Conv': {
      // [M, C/g, k…]: rows of group j read channels j·C/g and up.
      const kernel = sizeOf(dims.slice(2));
      const perGroup = first / intAttribute(node, 'group', 1);
      return (i) =>
        Math.floor(Math.floor(i / (kernel * second)) / perGroup) * second + (Math.floor(i / kernel) % second);
    }
    case 'MatMul':
      return alongAxis(dims, { axis: Math.max(dims.length - 2, 0), inner: 1 });
    case 'Gemm':
      return alongAxis(dims, { axis: intAttribute(node, 'transB', 0) === 0 ? 0 : 1, inner: 1 });
    default:
      return alongAxis(dims, { axis: 0, inner: 1 });
  }
}
