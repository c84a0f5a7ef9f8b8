/** Biases of layers: where one is stored, what it adds, and putting corrections there. */
import { required } from '../core/index.js';
import { GraphEditor, floatAttribute, loadTensor, withGraph, type Graph, type Model } from '../onnx/index.js';
import { tensor, toFloat32, type Tensor } from '../tensor/index.js';
import { type WeightedLayer } from './layers.js';
import { matrixSize } from './weight-layout.js';

/** Corrections of layer outputs by bias initializer, one number an output channel. */
export type BiasCorrections = ReadonlyMap<string, Float64Array>;

/**
 * The initializer that holds a layer's bias: its own third input, or the constant of the addition that follows a MatMul.
 * Undefined when there is none, or when it is shared, computed, or not one number a channel.
 */
export function biasInitializer(editor: GraphEditor, layer: WeightedLayer): string | undefined {
  const { rows } = matrixSize(layer.layout);
  const name = layer.node.opType === 'MatMul' ? addedConstant(editor, layer) : layer.node.inputs[2];
  if (name === undefined || name === '') return undefined;
  const stored = editor.constant(name);
  const size = stored?.dims.reduce((product, d) => product * d, 1);
  const isVector = stored?.dtype === 'float32' && size === rows && (stored.dims.at(-1) ?? 1) === rows;
  return isVector && editor.consumers(name).length === 1 ? name : undefined;
}

function addedConstant(editor: GraphEditor, layer: WeightedLayer): string | undefined {
  // With the weight on the left, channels are not the last axis, and a vector would be added along another.
  if (layer.patches.kind === 'columns') return undefined;
  const add = editor.soleConsumer(layer.output);
  if (add?.opType !== 'Add') return undefined;
  return add.inputs.find((name) => name !== layer.output);
}

/** What a layer's node makes of XWᵀ: `gain · XWᵀ + bias`. Undefined when the bias is not constant. */
export function outputMap(
  graph: Graph,
  layer: WeightedLayer,
): { readonly gain: number; readonly bias: Float64Array } | undefined {
  const { rows } = matrixSize(layer.layout);
  const isGemm = layer.node.opType === 'Gemm';
  const gain = isGemm ? floatAttribute(layer.node, 'alpha', 1) : 1;
  const name = layer.node.opType === 'MatMul' ? undefined : layer.node.inputs[2];
  if (name === undefined || name === '') return { gain, bias: new Float64Array(rows) };
  const constant = new GraphEditor(graph).constantTensor(name);
  if (constant === undefined) return undefined;
  const values = toFloat32(constant);
  const beta = isGemm ? floatAttribute(layer.node, 'beta', 1) : 1;
  if (values.length !== 1 && values.length !== rows) return undefined;
  return {
    gain,
    bias: Float64Array.from(
      { length: rows },
      (_, r) => beta * (values[values.length === 1 ? 0 : r] as number),
    ),
  };
}

/** Initializers with corrections added, in units of the layer's output. */
export function correctedBiases(graph: Graph, corrections: BiasCorrections): Map<string, Tensor> {
  const scaleOf = (name: string): number => {
    const gemm = graph.nodes.find((n) => n.opType === 'Gemm' && n.inputs[2] === name);
    return gemm === undefined ? 1 : 1 / floatAttribute(gemm, 'beta', 1);
  };
  return new Map(
    [...corrections].map(([name, correction]) => {
      const before = loadTensor(required(graph.initializers.get(name), `bias ${name}`), name);
      const scale = scaleOf(name);
      const data = toFloat32(before).map((b, r) => b + scale * (correction[r] as number));
      return [name, tensor('float32', before.dims, data)];
    }),
  );
}

/** The model with zero biases on every Conv, ConvTranspose and Gemm that has none, so that corrections have a place. */
export function withBiases(model: Model, layers: readonly WeightedLayer[]): Model {
  const editor = new GraphEditor(model.graph);
  for (const layer of layers) {
    const { node } = layer;
    const takesBias = node.opType === 'Conv' || node.opType === 'ConvTranspose' || node.opType === 'Gemm';
    if (!takesBias || (node.inputs[2] ?? '') !== '') continue;
    const { rows } = matrixSize(layer.layout);
    const bias = editor.addInitializer(`${layer.weight}_bias`, tensor('float32', [rows]));
    editor.replace(node, { ...node, inputs: [node.inputs[0] ?? '', node.inputs[1] ?? '', bias] });
  }
  return withGraph(model, editor.finish());
}
