/** Nodes that are an affine map a channel: `y → scale ⊙ y + shift`. */
import { floatAttribute, intAttribute, type Node } from '../onnx/index.js';
import { channelVector, type ChannelAxis } from './constants.js';
import { isRefusal, refuse, type Refusal } from './rule.js';
import { notConstant, type Scope } from './scope.js';

/** One entry a channel. */
export interface Affine {
  readonly scale: Float64Array;
  readonly shift: Float64Array;
}

/** The map a node applies to its input at a position, or why it is not one. */
type AffineReader = (node: Node, input: number, axis: ChannelAxis, scope: Scope) => Affine | Refusal;

/** y → y + c */
const add: AffineReader = (node, input, axis, scope) =>
  fromOperand(node, input, axis, scope, (c) => ({ scale: filled(axis, 1), shift: c }));

/** y → y − c, or c − y when y is on the right. */
const subtract: AffineReader = (node, input, axis, scope) =>
  fromOperand(node, input, axis, scope, (c) =>
    input === 0 ? { scale: filled(axis, 1), shift: c.map((v) => -v) } : { scale: filled(axis, -1), shift: c },
  );

/** y → y · c */
const multiply: AffineReader = (node, input, axis, scope) =>
  fromOperand(node, input, axis, scope, (c) => ({ scale: c, shift: filled(axis, 0) }));

/** y → y / c; a constant over y is not affine. */
const divide: AffineReader = (node, input, axis, scope) =>
  input === 1
    ? refuse('the value is the divisor')
    : fromOperand(node, input, axis, scope, (c) => ({ scale: c.map((v) => 1 / v), shift: filled(axis, 0) }));

/** y → γ (y − μ) / √(σ² + ε) + β, so scale = γ / √(σ² + ε) and shift = β − μ · scale (Ioffe & Szegedy 2015). */
const batchNormalization: AffineReader = (node, input, axis, scope) => {
  if (input !== 0) return refuse('the value is a parameter of the normalization');
  if (intAttribute(node, 'training_mode', 0) !== 0 || node.outputs.slice(1).some((o) => o !== ''))
    return refuse('the normalization is in training mode');
  if (intAttribute(node, 'spatial', 1) === 0)
    return refuse('the normalization is not per channel (spatial=0)');
  if (axis.rank === undefined || axis.rank - axis.fromEnd !== 1)
    return refuse('axis 1, which is normalized, is not the channel axis');
  const vectors: Float64Array[] = [];
  for (const name of node.inputs.slice(1, 5)) {
    const vector = constantVector(name, { ...axis, fromEnd: 1 }, scope);
    if (isRefusal(vector)) return vector;
    vectors.push(vector);
  }
  const [
    gamma = filled(axis, 1),
    beta = filled(axis, 0),
    mean = filled(axis, 0),
    variance = filled(axis, 1),
  ] = vectors;
  const epsilon = floatAttribute(node, 'epsilon', 1e-5);
  const scale = gamma.map((g, k) => g / Math.sqrt((variance[k] ?? NaN) + epsilon));
  return { scale, shift: beta.map((b, k) => b - (mean[k] ?? NaN) * (scale[k] ?? NaN)) };
};

const AFFINE: ReadonlyMap<string, AffineReader> = new Map(
  Object.entries<AffineReader>({
    Add: add,
    BatchNormalization: batchNormalization,
    Div: divide,
    Mul: multiply,
    Sub: subtract,
  }),
);

/** Operators {@link affineMap} reads. */
export const AFFINE_OPERATORS: readonly string[] = [...AFFINE.keys()];

/** The map that a node applies to its input at position `input`, whose channels lie as `axis` says. */
export function affineMap(node: Node, input: number, axis: ChannelAxis, scope: Scope): Affine | Refusal {
  return AFFINE.get(node.opType)?.(node, input, axis, scope) ?? refuse(`${node.opType} is not affine`);
}

function filled(axis: ChannelAxis, value: number): Float64Array {
  return new Float64Array(axis.channels).fill(value);
}

function constantVector(name: string, axis: ChannelAxis, scope: Scope): Float64Array | Refusal {
  const constant = scope.constantTensor(name);
  return constant === undefined
    ? refuse(notConstant(name, scope) ?? `'${name}' is not constant`)
    : channelVector(constant, axis, name);
}

function fromOperand(
  node: Node,
  input: number,
  axis: ChannelAxis,
  scope: Scope,
  affine: (c: Float64Array) => Affine,
): Affine | Refusal {
  const vector = constantVector(node.inputs[1 - input] ?? '', axis, scope);
  return isRefusal(vector) ? vector : affine(vector);
}
