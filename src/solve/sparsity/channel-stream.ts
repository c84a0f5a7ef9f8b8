/** Values that share their channels: everything that must be permuted together so that the network stays the same. */
import { GraphEditor, type Graph, type Node, type TensorType } from '../../onnx/index.js';
import { sizeOf } from '../../tensor/index.js';
import { findWeightedLayers, type WeightedLayer } from '../layers.js';

/** Operators that compute every element from elements of the same channel. */
const CHANNELWISE = new Set([
  ...[
    'Abs',
    'Clip',
    'Elu',
    'Erf',
    'Exp',
    'Gelu',
    'HardSigmoid',
    'HardSwish',
    'Identity',
    'LeakyRelu',
    'Mish',
    'Neg',
  ],
  ...[
    'Relu',
    'Selu',
    'Sigmoid',
    'Softplus',
    'Sqrt',
    'Swish',
    'Tanh',
    'Add',
    'Div',
    'Max',
    'Min',
    'Mul',
    'Sub',
  ],
]);

/** The same where channels are the second axis: they mix positions only. */
const POOLING = new Set(['AveragePool', 'GlobalAveragePool', 'GlobalMaxPool', 'MaxPool']);

/** A constant with a channel axis, by the node and input that read it. */
export interface ChannelConstant {
  readonly node: Node;
  readonly input: number;
  readonly axis: number;
}

/** Values with one order of channels, and where that order shows. */
export interface ChannelStream {
  readonly channels: number;
  /** Their names. */
  readonly values: ReadonlySet<string>;
  readonly constants: readonly ChannelConstant[];
  /** Layers that sum over the channels. */
  readonly readers: readonly WeightedLayer[];
}

interface Search {
  readonly editor: GraphEditor;
  readonly layers: ReadonlyMap<Node, WeightedLayer>;
  readonly types: ReadonlyMap<string, TensorType>;
  /** Channels are axis 1 of an image, or the last axis. */
  readonly image: boolean;
  readonly channels: number;
  readonly values: Set<string>;
  readonly constants: ChannelConstant[];
  readonly readers: WeightedLayer[];
}

/**
 * The stream a layer reads, or why its channels cannot be permuted. Writers (layers whose outputs these are),
 * channel-wise operators, depthwise convolutions and other readers are followed in both directions, so residual paths
 * belong to it.
 */
export function channelStream(
  graph: Graph,
  types: ReadonlyMap<string, TensorType>,
  reader: WeightedLayer,
): ChannelStream | string {
  const search: Search = {
    editor: new GraphEditor(graph),
    layers: new Map(findWeightedLayers(graph).map((l) => [l.node, l])),
    types,
    image: reader.patches.kind === 'window',
    channels: reader.layout.in,
    values: new Set([reader.input]),
    constants: [],
    readers: [],
  };
  if (reader.patches.kind === 'columns' || reader.patches.kind === 'lookup')
    return 'its channels are not the last axis';
  const { editor, values, channels, constants, readers } = search;
  const done = new Set<Node>();
  // A set visits what is added while it is walked.
  for (const value of values) {
    const producer = editor.producer(value);
    if (producer === undefined) return `'${value}' is given from outside`;
    if (editor.isGraphOutput(value)) return `'${value}' is an output of the model`;
    const why = isWriter(search, producer) ? writer(search, producer) : between(search, producer, done);
    if (why !== undefined) return why;
    for (const node of editor.consumers(value)) {
      const refused = isReader(search, node, value) ? read(search, node) : between(search, node, done);
      if (refused !== undefined) return refused;
    }
  }
  return { channels, values, constants, readers };
}

function isDepthwise({ layout }: WeightedLayer): boolean {
  return layout.groups > 1 && layout.in === 1 && layout.out === 1;
}

function isWriter({ layers }: Search, node: Node): boolean {
  const layer = layers.get(node);
  return layer !== undefined && !isDepthwise(layer);
}

function isReader({ layers }: Search, node: Node, value: string): boolean {
  const layer = layers.get(node);
  return layer?.input === value && !isDepthwise(layer);
}

function writer({ layers, editor, image, channels, constants }: Search, node: Node): string | undefined {
  const { layout, patches, weightInput } = layers.get(node) as WeightedLayer;
  const fits = patches.kind === (image ? 'window' : 'rows') && layout.groups === 1 && layout.out === channels;
  if (!fits) return `'${node.name}' orders its outputs in another way`;
  constants.push({ node, input: weightInput, axis: layout.outAxis });
  const bias = node.opType === 'MatMul' ? '' : (node.inputs[2] ?? '');
  if (bias === '') return undefined;
  const dims = editor.constant(bias)?.dims;
  if (dims === undefined) return `the bias of '${node.name}' is computed`;
  if (sizeOf(dims) > 1) constants.push({ node, input: 2, axis: dims.length - 1 });
  return undefined;
}

function read({ layers, image, channels, constants, readers }: Search, node: Node): string | undefined {
  const layer = layers.get(node) as WeightedLayer;
  const { layout, patches, weightInput } = layer;
  const fits = patches.kind === (image ? 'window' : 'rows') && layout.groups === 1 && layout.in === channels;
  if (!fits) return `'${node.name}' reads the channels in another way`;
  if (readers.includes(layer)) return undefined;
  readers.push(layer);
  constants.push({ node, input: weightInput, axis: layout.inAxis });
  return undefined;
}

/** Operators whose inputs and outputs all belong to the stream. */
function between(search: Search, node: Node, done: Set<Node>): string | undefined {
  if (done.has(node)) return undefined;
  done.add(node);
  const { editor, layers, types, image, values, constants } = search;
  const layer = layers.get(node);
  const isPool = image && POOLING.has(node.opType) && node.outputs.length === 1;
  const isChannelwise = layer === undefined ? CHANNELWISE.has(node.opType) || isPool : isDepthwise(layer);
  if (!isChannelwise) return `${node.opType} '${node.name}' mixes the channels`;
  const output = node.outputs[0] as string;
  values.add(output);
  const rank = types.get(output)?.dims?.length;
  for (const [input, name] of node.inputs.entries()) {
    const isLimit = node.opType === 'Clip' && input > 0;
    if (name === '' || isLimit) continue;
    const dims = editor.constant(name)?.dims;
    if (dims === undefined) {
      const own = types.get(name)?.dims;
      if (own === undefined || own.length !== rank) return `'${name}' and '${output}' differ in rank`;
      // One value for all channels, broadcast over them, is no part of the stream.
      if (own[image ? 1 : rank - 1] !== 1) values.add(name);
      continue;
    }
    if (sizeOf(dims) === 1) continue;
    if (rank === undefined) return `the rank of '${output}' is unknown`;
    // Weight and bias of a depthwise convolution begin with the channels; other constants are broadcast.
    const axis = layer !== undefined ? 0 : image ? 1 - (rank - dims.length) : dims.length - 1;
    if (axis >= 0 && dims[axis] !== 1) constants.push({ node, input, axis });
  }
  return undefined;
}
