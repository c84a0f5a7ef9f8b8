/** Weighted layers of a model of a model: which nodes have a constant weight, and how their inputs become rows of X. */
import { required } from '../core/index.js';
import {
  intAttribute,
  intsAttribute,
  loadTensor,
  stringAttribute,
  type Graph,
  type Node,
} from '../onnx/index.js';
import { toFloat32 } from '../tensor/index.js';
import { toMatrix, type WeightLayout } from './weight-layout.js';

/** How the rows of X follow from the layer's input value. */
export type Patches =
  | {
      readonly kind: 'window';
      readonly transposed: boolean;
      readonly kernel: readonly number[];
      readonly strides: readonly number[];
      readonly dilations: readonly number[];
      /** Begin and end pads, or how they follow from the shape. */
      readonly pads: readonly number[];
      readonly autoPad: string;
    }
  /** The last axis is the reduction. */
  | { readonly kind: 'rows' }
  /** The second last axis is the reduction. */
  | { readonly kind: 'columns' }
  /** Rows of the matrix are looked up: every column counts alike. */
  | { readonly kind: 'lookup' };

/** One use of a weight by a node. */
export interface WeightedLayer {
  readonly node: Node;
  /** Initializer and its input index. */
  readonly weight: string;
  readonly weightInput: number;
  /** The activation that is multiplied by it. */
  readonly input: string;
  readonly output: string;
  readonly layout: WeightLayout;
  readonly patches: Patches;
}

type Reader = (node: Node, graph: Graph) => WeightedLayer | undefined;

/** Operators with a weight, and how to read it. */
const READERS = {
  Conv: (node, graph) => convolution(node, graph, false),
  ConvTranspose: (node, graph) => convolution(node, graph, true),
  Gemm: gemm,
  MatMul: matmul,
  Gather: lookup,
} as const satisfies Record<string, Reader>;

/** Every weighted layer of the main graph, in its order. Weights that are graph inputs or computed are not layers. */
export function findWeightedLayers(graph: Graph): WeightedLayer[] {
  return graph.nodes.flatMap((node) => {
    if (node.domain !== '' || !(node.opType in READERS)) return [];
    return READERS[node.opType as keyof typeof READERS](node, graph) ?? [];
  });
}

function weightDims(graph: Graph, name: string | undefined): readonly number[] | undefined {
  if (name === undefined || graph.inputs.some((v) => v.name === name)) return undefined;
  const stored = graph.initializers.get(name);
  return stored?.dtype === 'float32' ? stored.dims : undefined;
}

function describe(
  node: Node,
  weightInput: number,
  activationInput: number,
  layout: WeightLayout,
  patches: Patches,
): WeightedLayer {
  return {
    node,
    weight: node.inputs[weightInput] as string,
    weightInput,
    input: node.inputs[activationInput] as string,
    output: node.outputs[0] as string,
    layout,
    patches,
  };
}

function convolution(node: Node, graph: Graph, transposed: boolean): WeightedLayer | undefined {
  const dims = weightDims(graph, node.inputs[1]);
  if (dims === undefined || dims.length < 3) return undefined;
  const groups = intAttribute(node, 'group', 1);
  const [first, second] = dims as [number, number];
  const kernel = dims.slice(2);
  const ones = kernel.map(() => 1);
  const layout: WeightLayout = {
    dims,
    groups,
    out: transposed ? second : first / groups,
    in: transposed ? first / groups : second,
    kernel: kernel.reduce((product, k) => product * k, 1),
    inputMajor: transposed,
    outAxis: transposed ? 1 : 0,
    inAxis: transposed ? 0 : 1,
  };
  return describe(node, 1, 0, layout, {
    kind: 'window',
    transposed,
    kernel,
    strides: intsAttribute(node, 'strides', ones),
    dilations: intsAttribute(node, 'dilations', ones),
    pads: intsAttribute(
      node,
      'pads',
      [...ones, ...ones].map(() => 0),
    ),
    autoPad: stringAttribute(node, 'auto_pad', 'NOTSET'),
  });
}

function matrix(dims: readonly number[], inputMajor: boolean): WeightLayout {
  const [rows, cols] = dims.slice(-2) as [number, number];
  const lead = dims.length - 2;
  return {
    dims,
    groups: 1,
    out: inputMajor ? cols : rows,
    in: inputMajor ? rows : cols,
    kernel: 1,
    inputMajor,
    outAxis: inputMajor ? lead + 1 : lead,
    inAxis: inputMajor ? lead : lead + 1,
  };
}

/** Y = α·A′·B′ + β·C; a constant α scales every output alike, so the problem is the same. */
function gemm(node: Node, graph: Graph): WeightedLayer | undefined {
  const right = weightDims(graph, node.inputs[1]);
  const [transA, transB] = [intAttribute(node, 'transA', 0) !== 0, intAttribute(node, 'transB', 0) !== 0];
  if (right !== undefined)
    return describe(node, 1, 0, matrix(right, !transB), { kind: transA ? 'columns' : 'rows' });
  const left = weightDims(graph, node.inputs[0]);
  if (left === undefined) return undefined;
  return describe(node, 0, 1, matrix(left, transA), { kind: transB ? 'rows' : 'columns' });
}

function matmul(node: Node, graph: Graph): WeightedLayer | undefined {
  const isMatrix = (dims: readonly number[] | undefined): dims is readonly number[] =>
    dims !== undefined && dims.length >= 2 && dims.slice(0, -2).every((d) => d === 1);
  const right = weightDims(graph, node.inputs[1]);
  if (isMatrix(right)) return describe(node, 1, 0, matrix(right, true), { kind: 'rows' });
  const left = weightDims(graph, node.inputs[0]);
  if (isMatrix(left)) return describe(node, 0, 1, matrix(left, false), { kind: 'columns' });
  return undefined;
}

function lookup(node: Node, graph: Graph): WeightedLayer | undefined {
  const dims = weightDims(graph, node.inputs[0]);
  if (dims?.length !== 2 || intAttribute(node, 'axis', 0) !== 0) return undefined;
  return describe(node, 0, 1, matrix(dims, false), { kind: 'lookup' });
}

/** A layer's weight in matrix order. */
export function layerWeight(graph: Graph, layer: WeightedLayer): Float32Array {
  const stored = required(graph.initializers.get(layer.weight), `initializer ${layer.weight}`);
  return toMatrix(layer.layout, toFloat32(loadTensor(stored, layer.weight)));
}
