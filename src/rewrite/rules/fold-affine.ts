/**
 * Replaces `Affine(Layer(x))` with `Layer(x)`, where Layer is Conv, ConvTranspose, Gemm or MatMul with a constant weight
 * and Affine is BatchNormalization, or Add, Sub, Mul, Div by a constant that is one number or one a channel.
 */
import { floatAttribute, intAttribute, type Node } from '../../onnx/index.js';
import { channelVector, type ChannelAxis } from '../constants.js';
import {
  foldAffine,
  isFoldableLayer,
  layerAt,
  replaceByFolded,
  type Affine,
  type FoldedLayer,
} from '../layer.js';
import { isRefusal, refuse, rule, type Refusal } from '../rule.js';
import { notConstant, otherReader, type Scope } from '../scope.js';

interface Match {
  readonly layer: Node;
  readonly affine: Node;
}

interface Ready extends Match {
  readonly folded: FoldedLayer;
}

type AffineReader = (node: Node, input: number, axis: ChannelAxis, scope: Scope) => Affine | Refusal;

/** y → y + c */
const add: AffineReader = (node, input, axis, scope) =>
  fromOperand(node, input, axis, scope, (c) => ({ scale: ones(axis), shift: c }));

/** y → y − c, or c − y when the layer is on the right. */
const subtract: AffineReader = (node, input, axis, scope) =>
  fromOperand(node, input, axis, scope, (c) =>
    input === 0 ? { scale: ones(axis), shift: c.map((v) => -v) } : { scale: ones(axis).fill(-1), shift: c },
  );

/** y → y · c */
const multiply: AffineReader = (node, input, axis, scope) =>
  fromOperand(node, input, axis, scope, (c) => ({ scale: c, shift: zeros(axis) }));

/** y → y / c; a constant over y is not affine. */
const divide: AffineReader = (node, input, axis, scope) =>
  input === 1
    ? refuse('the layer is the divisor')
    : fromOperand(node, input, axis, scope, (c) => ({ scale: c.map((v) => 1 / v), shift: zeros(axis) }));

/** y → γ (y − μ) / √(σ² + ε) + β, so scale = γ / √(σ² + ε) and shift = β − μ · scale (Ioffe & Szegedy 2015). */
const batchNormalization: AffineReader = (node, input, axis, scope) => {
  if (input !== 0) return refuse('the layer is a parameter of the normalization');
  if (intAttribute(node, 'training_mode', 0) !== 0 || node.outputs.slice(1).some((o) => o !== ''))
    return refuse('the normalization is in training mode');
  if (intAttribute(node, 'spatial', 1) === 0)
    return refuse('the normalization is not per channel (spatial=0)');
  if (axis.rank === undefined || axis.rank - axis.fromEnd !== 1)
    return refuse("axis 1, which is normalized, is not the layer's channel axis");
  const vectors: Float64Array[] = [];
  for (const name of node.inputs.slice(1, 5)) {
    const vector = constantVector(name, { ...axis, fromEnd: 1 }, scope);
    if (isRefusal(vector)) return vector;
    vectors.push(vector);
  }
  const [gamma = zeros(axis), beta = zeros(axis), mean = zeros(axis), variance = zeros(axis)] = vectors;
  const epsilon = floatAttribute(node, 'epsilon', 1e-5);
  const scale = gamma.map((g, k) => g / Math.sqrt((variance[k] ?? NaN) + epsilon));
  return { scale, shift: beta.map((b, k) => b - (mean[k] ?? NaN) * (scale[k] ?? NaN)) };
};

const AFFINE = {
  Add: add,
  BatchNormalization: batchNormalization,
  Div: divide,
  Mul: multiply,
  Sub: subtract,
} as const satisfies Record<string, AffineReader>;

const READERS: ReadonlyMap<string, AffineReader> = new Map(Object.entries<AffineReader>(AFFINE));

function ones(axis: ChannelAxis): Float64Array {
  return new Float64Array(axis.channels).fill(1);
}

function zeros(axis: ChannelAxis): Float64Array {
  return new Float64Array(axis.channels);
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

export const foldAffineMaps = rule<Match, Ready>({
  name: 'fold-affine',

  pattern: (node, { graph, constant }) => {
    if (node.domain !== '' || !READERS.has(node.opType)) return undefined;
    const layer = node.inputs.map((name) => graph.producer(name)).find(isFoldableLayer);
    if (layer === undefined) return undefined;
    const operand = node.inputs.find((name) => !layer.outputs.includes(name)) ?? '';
    if (node.opType !== 'BatchNormalization' && constant(operand) === undefined) return undefined;
    // A bias has no place in MatMul: it stays behind it.
    if (layer.opType === 'MatMul' && (node.opType === 'Add' || node.opType === 'Sub')) return undefined;
    return { layer, affine: node };
  },

  check: ({ layer, affine }, scope) => {
    const value = layer.outputs[0] ?? '';
    const other = otherReader(value, affine, scope);
    if (other !== undefined) return refuse(other);
    const facts = layerAt(layer, scope);
    if (isRefusal(facts)) return facts;
    const map = READERS.get(affine.opType)?.(affine, affine.inputs.indexOf(value), facts, scope);
    if (map === undefined || isRefusal(map)) return map ?? refuse('it is not affine');
    const folded = foldAffine(facts, map);
    return isRefusal(folded) ? folded : { layer, affine, folded };
  },

  rewrite: ({ affine, folded }, scope) => replaceByFolded(folded, affine, scope),
});
