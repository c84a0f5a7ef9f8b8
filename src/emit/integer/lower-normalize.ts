/** Softmax and LayerNormalization. */
import { floatAttribute, intAttribute, type Node } from '../../onnx/index.js';
import { known } from './lower-linear.js';
import { refuse, type Lowering } from './lowering.js';

/** Softmax means one axis since this opset. */
const ONE_AXIS_OPSET = 13;

/** Sums of exponentials stay below 2^30. */
const SUM_BITS = 30;

/** More bits than this in one exponential cannot be seen in 16-bit results. */
const MOST_EXPONENTIAL_BITS = 24;

/** Bits of 2^shift / s_y beyond the result's own. */
const SHARE_BITS = 8;

export function lowerSoftmax(node: Node, to: Lowering): void {
  const x = to.operand(node, 0);
  const rank = x.dims.length;
  const axis = (intAttribute(node, 'axis', to.input.opset >= ONE_AXIS_OPSET ? -1 : 1) + rank) % rank;
  if (to.input.opset < ONE_AXIS_OPSET && axis !== rank - 1)
    throw refuse(node, 'before opset 13 it runs over several axes');
  const length = known(node, x.dims[axis]);
  const { value } = to.result(node);
  const bits = Math.min(MOST_EXPONENTIAL_BITS, SUM_BITS - Math.ceil(Math.log2(length)));
  to.push({
    kind: 'softmax',
    node: node.name,
    x: x.name,
    axis,
    exponentials: exponentials(x.high - x.low, x.scale, 2 ** bits),
    multiplier: Math.round(2 ** SHARE_BITS / value.scale),
    shift: SHARE_BITS,
    output: value.name,
  });
}

/** round(unit · exp(−scale · d)) for d = 0, 1, … up to the first zero. */
function exponentials(largest: number, scale: number, unit: number): Int32Array {
  const table: number[] = [];
  for (let d = 0; d <= largest && table.at(-1) !== 0; d++)
    table.push(Math.round(unit * Math.exp(-scale * d)));
  return Int32Array.from(table);
}

/** Bits of a scaled gamma. */
const GAMMA_BITS = 12;

/** Bits of t beyond those of the result. */
const FRACTION_BITS = 4;

/** S · 4^rootShift stays below 2^61, and the root's precision need not exceed 15 bits. */
const SQUARE_BITS = 61;
const MOST_ROOT_SHIFT = 15;

export function lowerLayerNorm(node: Node, to: Lowering): void {
  const x = to.operand(node, 0);
  const rank = x.dims.length;
  if ((intAttribute(node, 'axis', -1) + rank) % rank !== rank - 1)
    throw refuse(node, 'it normalizes more than the last axis');
  const size = known(node, x.dims.at(-1));
  const gammas = to.reals(node, 1)?.values ?? new Float32Array(size).fill(1);
  const betas = to.reals(node, 2)?.values ?? new Float32Array(size);
  const result = to.result(node);

  const epsilon = BigInt(
    Math.max(1, Math.round((floatAttribute(node, 'epsilon', 1e-5) * size ** 3) / x.scale ** 2)),
  );
  const largest = (size ** 3 * (x.high - x.low) ** 2) / 4 + Number(epsilon);
  const rootShift = Math.min(MOST_ROOT_SHIFT, Math.floor((SQUARE_BITS - Math.log2(largest)) / 2));
  if (rootShift < 1) throw refuse(node, `squares of ${size} elements of ${x.format} exceed 64 bits`);
  const fraction = result.format.bits + FRACTION_BITS;

  const exponent = (reals: Float32Array): number =>
    Math.ceil(Math.log2(reals.reduce((most, r) => Math.max(most, Math.abs(r)), 2 ** -20)));
  // Gamma gets its bits; beta, in finer units, has to fit into 30.
  const gammaUnit = 2 ** Math.max(exponent(gammas) - (GAMMA_BITS - 1), exponent(betas) + fraction - 30);
  const unit = gammaUnit * 2 ** -fraction;
  const integers = (reals: Float32Array, step: number): Int32Array =>
    Int32Array.from(reals, (r) => Math.round(r / step));
  const sum = {
    kind: 'layer-norm',
    x: x.name,
    size,
    epsilon,
    rootShift,
    unit: BigInt(Math.round(Math.sqrt(size) * 2 ** (fraction + rootShift))),
    fraction,
    gamma: to.constant(`${node.name}_gamma`, [size], integers(gammas, gammaUnit)),
    beta: to.constant(`${node.name}_beta`, [size], integers(betas, unit)),
  } as const;
  to.accumulate(node, sum, [unit], result);
}
