/** Convolutions, matrix products and pooling. */
import { floatAttribute, intAttribute, intsAttribute, type Dim, type Node } from '../../onnx/index.js';
import { biasCodes } from '../bias.js';
import { refuse, type Lowering, type Weight } from './lowering.js';
import { windowOf } from './window.js';

export function lowerConv(node: Node, to: Lowering): void {
  const x = to.operand(node, 0);
  const weight = to.weight(node, 1, 0);
  if (weight === undefined) throw refuse(node, 'its weight is not constant');
  const units = weight.scale.map((scale) => x.scale * scale);
  const window = windowOf(node, x.dims, weight.dims.slice(2));
  const sum = {
    kind: 'convolution',
    x: x.name,
    weight: to.constant(`${node.name}_weight`, weight.dims, weight.codes),
    ...bias(node, to, x.scale, weight),
    group: intAttribute(node, 'group', 1),
    window,
  } as const;
  to.accumulate(node, sum, units, to.result(node), 1);
}

export function lowerGemm(node: Node, to: Lowering): void {
  const plain = floatAttribute(node, 'alpha', 1) === 1 && floatAttribute(node, 'beta', 1) === 1;
  if (!plain) throw refuse(node, 'alpha or beta is not 1');
  if (intAttribute(node, 'transA', 0) !== 0) throw refuse(node, 'its first operand is transposed');
  const transposed = intAttribute(node, 'transB', 0) !== 0;
  const stored = to.weight(node, 1, transposed ? 0 : 1);
  if (stored === undefined) throw refuse(node, 'its second operand is not constant');
  lowerMatrixProduct(node, to, transposed ? transpose(stored) : stored);
}

export function lowerMatMul(node: Node, to: Lowering): void {
  const rank = to.dimsOf(node.inputs[1] ?? '').length;
  if (rank < 2 || to.dimsOf(node.inputs[0] ?? '').length < 2) throw refuse(node, 'an operand is a vector');
  if (to.planOf(node).weights[0] !== undefined) throw refuse(node, 'its first operand is constant');
  const weight = to.weight(node, 1, rank - 1);
  if (weight !== undefined) {
    lowerMatrixProduct(node, to, weight);
    return;
  }
  const a = to.operand(node, 0);
  const b = to.operand(node, 1);
  const sum = { kind: 'matrix-product', a: a.name, b: b.name, depth: known(node, a.dims.at(-1)) } as const;
  to.accumulate(node, sum, [a.scale * b.scale], to.result(node));
}

function lowerMatrixProduct(node: Node, to: Lowering, weight: Weight): void {
  const a = to.operand(node, 0);
  const result = to.result(node);
  const sum = {
    kind: 'matrix-product',
    a: a.name,
    b: to.constant(`${node.name}_weight`, weight.dims, weight.codes),
    ...bias(node, to, a.scale, weight),
    depth: weight.dims.at(-2) ?? 1,
  } as const;
  const units = weight.scale.map((scale) => a.scale * scale);
  to.accumulate(node, sum, units, result, result.value.dims.length - 1);
}

function transpose({ dims, codes, scale }: Weight): Weight {
  const [rows = 1, columns = 1] = dims;
  const moved = codes.map((_, i) => codes[(i % rows) * columns + Math.floor(i / rows)] as number);
  return { dims: [columns, rows], codes: moved, scale };
}

function bias(node: Node, to: Lowering, inputScale: number, weight: Weight): { bias?: string } {
  const index = to.planOf(node).bias;
  if (index === undefined) {
    if ((node.inputs[2] ?? '') === '') return {};
    throw refuse(node, 'its bias is not a constant vector');
  }
  const values = to.reals(node, index)?.values ?? new Float32Array(0);
  const { codes } = biasCodes(node.name, values, inputScale, weight.scale);
  return { bias: to.constant(`${node.name}_bias`, [codes.length], codes) };
}

/** Mean over the spatial axes. */
export function lowerGlobalAveragePool(node: Node, to: Lowering): void {
  const { dims } = to.operand(node, 0);
  lowerMean(
    node,
    to,
    dims.slice(2).map((_, i) => i + 2),
    true,
  );
}

export function lowerReduceMean(node: Node, to: Lowering): void {
  const rank = to.operand(node, 0).dims.length;
  const given = intsAttribute(node, 'axes') ?? to.numbers(node, 1);
  const axes = given ?? Array.from({ length: rank }, (_, i) => i);
  lowerMean(
    node,
    to,
    axes.map((axis) => (axis + rank) % rank),
    intAttribute(node, 'keepdims', 1) === 1,
  );
}

function lowerMean(node: Node, to: Lowering, axes: readonly number[], keepDims: boolean): void {
  const x = to.operand(node, 0);
  const size = axes.reduce((product, axis) => product * known(node, x.dims[axis]), 1);
  const sum = { kind: 'axis-sum', x: x.name, axes, size, keepDims } as const;
  to.accumulate(node, sum, [x.scale / size], to.result(node));
}

export function lowerAveragePool(node: Node, to: Lowering): void {
  const x = to.operand(node, 0);
  const window = windowOf(node, x.dims);
  const padded = window.pads.some((p) => p !== 0);
  if (padded && intAttribute(node, 'count_include_pad', 0) === 0)
    throw refuse(node, 'its divisor differs at the borders (count_include_pad = 0 with padding)');
  const count = window.kernel.reduce((product, k) => product * k, 1);
  to.accumulate(node, { kind: 'window-sum', x: x.name, window }, [x.scale / count], to.result(node));
}

export function lowerMaxPool(node: Node, to: Lowering): void {
  const x = to.operand(node, 0);
  const window = windowOf(node, x.dims);
  to.push({ kind: 'window-max', node: node.name, x: x.name, window, output: to.result(node).value.name });
}

/** A dimension that has to be known. */
export function known(node: Node, dim: Dim | undefined): number {
  if (typeof dim === 'number') return dim;
  throw refuse(node, `a dimension it sums over is not known (${dim ?? 'missing'})`);
}
