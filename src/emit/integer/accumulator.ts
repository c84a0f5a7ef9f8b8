/** Proofs about accumulators: every sum an operation can form, in any order of its terms, lies in these ranges. */
import { required } from '../../core/index.js';
import { sizeOf } from '../../tensor/index.js';
import {
  type ArithmeticOp,
  type CodeConstant,
  type Convolution,
  type IntegerProgram,
  type MatrixProduct,
} from './program.js';

export interface Range {
  readonly low: number;
  readonly high: number;
}

/** Range of an operand's integers, zero point subtracted; holds zero. */
export type RangeOf = (operand: string) => Range;

/** Constants by name. */
export type Constants = ReadonlyMap<string, CodeConstant>;

/** Range of the integers of a value or constant, zero point subtracted; holds zero. */
export function integerRange(program: Pick<IntegerProgram, 'values' | 'constants'>, name: string): Range {
  const constant = program.constants.get(name);
  if (constant !== undefined) return hull(constant, ZERO);
  const { low, high, zeroPoint } = required(program.values.get(name), name);
  return hull({ low: low - zeroPoint, high: high - zeroPoint }, ZERO);
}

const ZERO: Range = { low: 0, high: 0 };

/** Bits of a signed word that holds a range. */
export function signedBits({ low, high }: Range): number {
  let bits = 1;
  while (-(2 ** (bits - 1)) > low || 2 ** (bits - 1) - 1 < high) bits++;
  return bits;
}

/** The smallest range around both. */
export function hull(a: Range, b: Range): Range {
  return { low: Math.min(a.low, b.low), high: Math.max(a.high, b.high) };
}

/** Range of x · y. */
export function productRange(x: Range, y: Range): Range {
  const corners = [x.low * y.low, x.low * y.high, x.high * y.low, x.high * y.high];
  return { low: Math.min(...corners), high: Math.max(...corners) };
}

/** Range of factor · x. */
export function scaledRange(x: Range, factor: number): Range {
  return factor < 0
    ? { low: factor * x.high + 0, high: factor * x.low + 0 }
    : { low: factor * x.low + 0, high: factor * x.high + 0 };
}

export function addRanges(ranges: readonly Range[]): Range {
  return ranges.reduce((sum, r) => ({ low: sum.low + r.low, high: sum.high + r.high }), { low: 0, high: 0 });
}

/**
 * Ranges of an operation's accumulator, one a channel where channels differ. Each term's range holds zero, so partial
 * sums in any order stay inside; with a bias the range holds the sums before and after it is added.
 */
export function accumulatorRanges(op: ArithmeticOp, rangeOf: RangeOf, constants: Constants): Range[] {
  switch (op.kind) {
    case 'convolution':
      return convolutionRanges(op, rangeOf, constants);
    case 'matrix-product':
      return matrixProductRanges(op, rangeOf, constants);
    case 'sum':
      return [addRanges(op.terms.map(({ x, multiplier }) => scaledRange(rangeOf(x), multiplier)))];
    case 'product':
      return [productRange(rangeOf(op.a), rangeOf(op.b))];
    case 'window-sum':
      return [scaledRange(rangeOf(op.x), sizeOf(op.window.kernel))];
    case 'axis-sum':
      return [scaledRange(rangeOf(op.x), op.size)];
    case 'layer-norm': {
      // |x − mean| < σ·√N; rounding down makes the root smaller by less than one part in 2^rootShift.
      const largest = Math.ceil((2 ** op.fraction * Math.sqrt(op.size)) / (1 - 2 ** -op.rootShift)) + 1;
      const gamma = required(constants.get(op.gamma), op.gamma);
      const beta = required(constants.get(op.beta), op.beta);
      const t = { low: -largest, high: largest };
      return Array.from(gamma.codes, (g, i) => withBias(scaledRange(t, g), beta.codes[i] ?? 0));
    }
  }
}

/** Sum of rows of constants times a common operand range. */
function rowRange(codes: Int32Array, from: number, count: number, step: number, x: Range): Range {
  let positive = 0;
  let negative = 0;
  for (let i = 0, at = from; i < count; i++, at += step) {
    const w = codes[at] as number;
    if (w > 0) positive += w;
    else negative += w;
  }
  return addRanges([scaledRange(x, positive), scaledRange(x, negative)]);
}

function withBias(sum: Range, bias: number): Range {
  return hull(sum, { low: sum.low + bias, high: sum.high + bias });
}

function convolutionRanges(op: Convolution, rangeOf: RangeOf, constants: Constants): Range[] {
  const weight = required(constants.get(op.weight), op.weight);
  const bias = op.bias === undefined ? undefined : required(constants.get(op.bias), op.bias);
  const rows = weight.dims[0] ?? 1;
  const depth = weight.codes.length / rows;
  const x = rangeOf(op.x);
  return Array.from({ length: rows }, (_, m) =>
    withBias(rowRange(weight.codes, m * depth, depth, 1, x), bias?.codes[m] ?? 0),
  );
}

function matrixProductRanges(op: MatrixProduct, rangeOf: RangeOf, constants: Constants): Range[] {
  const bias = op.bias === undefined ? undefined : required(constants.get(op.bias), op.bias);
  const weight = constants.get(op.b);
  if (weight === undefined || weight.dims.length !== 2) {
    const sum = scaledRange(productRange(rangeOf(op.a), rangeOf(op.b)), op.depth);
    return bias === undefined ? [sum] : Array.from(bias.codes, (b) => withBias(sum, b));
  }
  const [depth = 1, columns = 1] = weight.dims;
  const a = rangeOf(op.a);
  return Array.from({ length: columns }, (_, n) =>
    withBias(rowRange(weight.codes, n, depth, columns, a), bias?.codes[n] ?? 0),
  );
}
