/**
 * Replaces `(x − mean(x)) / √(mean((x − mean(x))²) + ε) · γ + β`, the mean being over the last axes, with
 * `LayerNormalization(x, γ, β)` (Ba, Kiros & Hinton 2016). γ and β may be missing.
 */
import { float, intAttribute, intsAttribute, type Node } from '../../onnx/index.js';
import { sizeOf, tensor, toNumbers, type Tensor } from '../../tensor/index.js';
import { realsOf } from '../constants.js';
import { type Fusion } from '../fusion.js';
import {
  isNear,
  isOperator,
  otherOperand,
  outputOf,
  producedBy,
  readersOf,
  scalarConstant,
  shiftedBy,
} from '../pattern.js';
import { type Scope } from '../scope.js';

export const layerNormalization: Fusion = {
  name: 'fuse-layer-normalization',
  operator: 'LayerNormalization',
  since: 17,

  pattern: (quotient, scope) => {
    const core = normalizedBy(quotient, scope);
    if (core === undefined) return undefined;
    const { x, axis, shape } = core;
    const nodes = [...core.nodes, quotient];
    const gamma = affineReader(quotient, 'Mul', shape, scope);
    if (gamma !== undefined) nodes.push(gamma.node);
    const beta = affineReader(gamma?.node ?? quotient, 'Add', shape, scope);
    if (beta !== undefined) nodes.push(beta.node);
    const scale = gamma?.constant ?? ones(shape);
    return {
      nodes,
      last: beta?.node ?? gamma?.node ?? quotient,
      inputs: beta === undefined ? [x, scale] : [x, scale, beta.constant],
      attributes: { axis, epsilon: float(core.epsilon) },
    };
  },
};

interface Core {
  readonly x: string;
  /** First normalized axis, counted from the end. */
  readonly axis: number;
  /** Sizes of the normalized axes. */
  readonly shape: readonly number[];
  readonly epsilon: number;
  readonly nodes: readonly Node[];
}

/** The part before γ: `d / √(mean(d²) + ε)` with `d = x − mean(x)`. */
function normalizedBy(quotient: Node, scope: Scope): Core | undefined {
  if (!isOperator(quotient, 'Div')) return undefined;
  const [centered, deviation] = quotient.inputs.map((name) => producedBy(name, scope, 'Sub', 'Sqrt'));
  if (!isOperator(centered, 'Sub') || !isOperator(deviation, 'Sqrt')) return undefined;
  const sum = producedBy(deviation.inputs[0], scope, 'Add');
  const stabilized = shiftedBy(sum, scope);
  const variance = producedBy(stabilized?.value, scope, 'ReduceMean');
  const square = producedBy(variance?.inputs[0], scope, 'Pow', 'Mul');
  if (sum === undefined || stabilized === undefined || variance === undefined || square === undefined)
    return undefined;
  const difference = squared(square, scope);
  const [x = '', meanValue = ''] = centered.inputs;
  const mean = producedBy(meanValue, scope, 'ReduceMean');
  if (mean?.inputs[0] !== x || stabilized.number <= 0) return undefined;
  // Some exporters write x − mean twice, once for the variance and once for the quotient.
  const isSame = difference === outputOf(centered);
  const twin = isSame ? undefined : producedBy(difference, scope, 'Sub');
  if (!isSame && !twin?.inputs.every((name, i) => name === centered.inputs[i])) return undefined;
  const axes = lastAxes(mean, x, scope);
  const varianceAxes = lastAxes(variance, outputOf(centered), scope);
  if (axes === undefined || axes.axis !== varianceAxes?.axis) return undefined;
  const nodes = [mean, centered, ...(twin === undefined ? [] : [twin]), square, variance, sum, deviation];
  return { x, ...axes, epsilon: stabilized.number, nodes };
}

/** v of v² or v · v. */
function squared(node: Node, scope: Scope): string | undefined {
  const [base, other] = node.inputs;
  if (isOperator(node, 'Mul')) return base === other ? base : undefined;
  return isNear(scalarConstant(other, scope), 2) ? base : undefined;
}

/** The axes a ReduceMean keeps as ones, when they are the last ones and their sizes are known. */
function lastAxes(mean: Node, value: string, scope: Scope): Pick<Core, 'axis' | 'shape'> | undefined {
  const dims = scope.type(value)?.dims;
  const given = mean.inputs[1] ? scope.constantTensor(mean.inputs[1]) : undefined;
  const axes = given === undefined ? intsAttribute(mean, 'axes') : toNumbers(given);
  if (dims === undefined || axes === undefined || intAttribute(mean, 'keepdims', 1) === 0) return undefined;
  const fromEnd = axes.map((axis) => (axis < 0 ? axis : axis - dims.length)).sort((a, b) => a - b);
  const isLast = fromEnd.length > 0 && fromEnd.every((axis, i) => axis === i - fromEnd.length);
  const shape = isLast ? dims.slice(-fromEnd.length) : [];
  const sizes = shape.filter((d) => typeof d === 'number');
  return isLast && sizes.length === shape.length ? { axis: -fromEnd.length, shape: sizes } : undefined;
}

/** The one reader of a node that multiplies or adds a constant of the normalized shape. */
function affineReader(
  node: Node,
  opType: 'Mul' | 'Add',
  shape: readonly number[],
  scope: Scope,
): { node: Node; constant: string } | undefined {
  const [reader, another] = readersOf(outputOf(node), scope, opType);
  if (reader === undefined || another !== undefined) return undefined;
  const constant = otherOperand(reader, outputOf(node)) ?? '';
  const t = scope.constantTensor(constant);
  const fits = t !== undefined && realsOf(t) !== undefined && t.dims.length === shape.length;
  return fits && t.dims.every((d, i) => d === shape[i]) ? { node: reader, constant } : undefined;
}

function ones(shape: readonly number[]): Tensor {
  return tensor('float32', shape, new Float32Array(sizeOf(shape)).fill(1));
}
