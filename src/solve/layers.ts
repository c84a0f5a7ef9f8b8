/** Weighted layers of a model as matrices: which nodes have one, how its elements are laid out, what its inputs are. */
import { FxqError } from '../core/index.js';
import { intAttribute, intsAttribute, stringAttribute, type Graph, type Node } from '../onnx/index.js';
import { type ScaleSharing } from './problem.js';
import { type Granularity } from '../plan/index.js';

/**
 * An initializer seen as `groups` matrices [out × in·kernel]. Output-major ones are stored [groups·out, in, kernel]
 * (Conv, Gemm with transB, embeddings), input-major ones [groups·in, out, kernel] (ConvTranspose, MatMul).
 */
export interface WeightLayout {
  readonly dims: readonly number[];
  readonly groups: number;
  readonly out: number;
  readonly in: number;
  readonly kernel: number;
  readonly inputMajor: boolean;
  /** ONNX axes of outputs and of the reduction. */
  readonly outAxis: number;
  readonly inAxis: number;
}

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

/** Rows and columns of the matrix view. */
export function matrixSize(layout: WeightLayout): { rows: number; cols: number } {
  return { rows: layout.groups * layout.out, cols: layout.in * layout.kernel };
}

/** Index into the initializer of every element of the matrix view, row-major. */
export function elementIndex(layout: WeightLayout): Int32Array {
  const { groups, out, in: depth, kernel, inputMajor } = layout;
  const index = new Int32Array(groups * out * depth * kernel);
  let at = 0;
  for (let g = 0; g < groups; g++)
    for (let o = 0; o < out; o++)
      for (let i = 0; i < depth; i++) {
        const base = inputMajor ? (g * depth + i) * out + o : (g * out + o) * depth + i;
        for (let k = 0; k < kernel; k++) index[at++] = base * kernel + k;
      }
  return index;
}

/** Elements of an initializer in matrix order. */
export function toMatrix(layout: WeightLayout, data: Float32Array): Float32Array {
  return Float32Array.from(elementIndex(layout), (i) => data[i] as number);
}

/** Matrix elements back in the initializer's order. */
export function fromMatrix<T extends Int32Array | Float32Array | Float64Array>(
  layout: WeightLayout,
  values: T,
): T {
  const out = values.slice() as T;
  elementIndex(layout).forEach((i, at) => {
    out[i] = values[at] as number;
  });
  return out;
}

/** Which scale each weight uses, and where that scale is in the ONNX scale tensor. */
export interface ScaleLayout {
  readonly sharing: ScaleSharing;
  /** Cell to index in the scale tensor: [], [channels], or the weight's shape with the blocked axis divided. */
  readonly index: Int32Array;
}

/**
 * Scale cells of a granularity.
 *
 * @throws FxqError E_UNSUPPORTED for blocks along an axis that is not the reduction
 */
export function scaleLayout(layout: WeightLayout, granularity: Granularity): ScaleLayout {
  const { groups, out, in: depth, kernel, inputMajor, outAxis, inAxis } = layout;
  const { rows, cols } = matrixSize(layout);
  const channel = Int32Array.from({ length: cols }, (_, c) => Math.floor(c / kernel));
  const row = Int32Array.from({ length: rows }, (_, r) => r);
  const whole = { block: new Int32Array(cols), blocks: 1 };
  const identity = (n: number): Int32Array => Int32Array.from({ length: n }, (_, i) => i);
  if (granularity.kind === 'tensor')
    return { sharing: { rowSet: new Int32Array(rows), sets: 1, ...whole }, index: identity(1) };
  if (granularity.kind === 'channel' && granularity.axis === outAxis) {
    // An input-major weight has one scale for output o of every group.
    const rowSet = inputMajor ? row.map((r) => r % out) : row;
    const sets = inputMajor ? out : rows;
    return { sharing: { rowSet, sets, ...whole }, index: identity(sets) };
  }
  if (granularity.kind === 'channel' && granularity.axis === inAxis) {
    const rowSet = inputMajor ? row.map((r) => Math.floor(r / out)) : new Int32Array(rows);
    const sets = inputMajor ? groups : 1;
    return { sharing: { rowSet, sets, block: channel, blocks: depth }, index: identity(sets * depth) };
  }
  if (granularity.kind === 'block' && granularity.axis === inAxis) {
    const { size } = granularity;
    if (inputMajor && groups > 1 && depth % size !== 0)
      throw new FxqError('E_UNSUPPORTED', `blocks of ${size} cross the groups of ${depth} input channels`);
    const perRow = Math.ceil(depth / size);
    const block = Int32Array.from(
      { length: cols },
      (_, c) => Math.floor((channel[c] as number) / size) * kernel + (c % kernel),
    );
    const sharing = { rowSet: row, sets: rows, block, blocks: perRow * kernel };
    const index = identity(rows * perRow * kernel);
    if (!inputMajor) return { sharing, index };
    return {
      sharing,
      index: index.map((cell) => {
        const [r, b] = [Math.floor(cell / (perRow * kernel)), cell % (perRow * kernel)];
        const [g, o] = [Math.floor(r / out), r % out];
        return ((g * perRow + Math.floor(b / kernel)) * out + o) * kernel + (b % kernel);
      }),
    };
  }
  throw new FxqError(
    'E_UNSUPPORTED',
    `scales along axis ${granularity.axis} of a weight of shape [${layout.dims.join(', ')}] are not supported`,
    `Use axis ${granularity.kind === 'block' ? inAxis : outAxis}.`,
  );
}
