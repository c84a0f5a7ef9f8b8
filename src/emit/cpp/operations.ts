/** One statement an operation. */
import { FxqError, required } from '../../core/index.js';
import { sizeOf, stridesOf } from '../../tensor/index.js';
import {
  broadcastDims,
  broadcastIndex,
  integerRange,
  resultWord,
  type AxisSum,
  type Convolution,
  type IntegerOp,
  type LayerNorm,
  type MatrixProduct,
  type Product,
  type Softmax,
  type Sum,
  type Window,
  type WindowMax,
  type WindowSum,
} from '../integer/index.js';
import { parseFormat } from '../../formats/index.js';
import { call, int64 } from './literals.js';
import { concat, move } from './movement.js';
import { type CppScope } from './scope.js';

/** The statement that computes an operation's result. */
export function writeOperation(op: IntegerOp, scope: CppScope): string {
  switch (op.kind) {
    case 'convolution':
      return convolution(op, scope);
    case 'matrix-product':
      return matrixProduct(op, scope);
    case 'sum':
      return sum(op, scope);
    case 'product':
      return product(op, scope);
    case 'window-sum':
      return windowSum(op, scope);
    case 'window-max':
      return windowMax(op, scope);
    case 'axis-sum':
      return axisSum(op, scope);
    case 'table': {
      scope.use('lookup');
      const table = scope.array(`${op.output} table`, scope.type(op.output), op.table);
      return call('lookup', [
        scope.operand(op.x),
        scope.identifier(op.output),
        sizeOf(scope.dims(op.x)),
        table,
        scope.value(op.x).low,
      ]);
    }
    case 'softmax':
      return softmax(op, scope);
    case 'layer-norm':
      return layerNorm(op, scope);
    case 'move':
      return move(op, scope);
    case 'concat':
      return concat(op, scope);
  }
}

/** A Window literal; one spatial axis is the width of a plane of height 1. */
function window(shape: Window, input: readonly number[], output: readonly number[], scope: CppScope): string {
  scope.use('window');
  const rank = shape.kernel.length;
  const pair = (values: readonly number[], missing: number): number[] =>
    rank === 1 ? [missing, values[0] ?? missing] : [values[0] ?? missing, values[1] ?? missing];
  const parts = [
    pair(input.slice(2), 1),
    pair(output.slice(2), 1),
    pair(shape.kernel, 1),
    pair(shape.strides, 1),
    pair(shape.pads.slice(0, rank), 0),
    pair(shape.dilations, 1),
  ];
  return `Window{${parts.flat().join(', ')}}`;
}

function convolution(op: Convolution, scope: CppScope): string {
  scope.use('convolution');
  const input = scope.dims(op.x);
  const output = scope.dims(op.output);
  const bias = scope.bias(op.bias, op);
  const types = [scope.sum(op).text, scope.factor(op.x, op), bias.type, scope.modes(op)];
  return call(`convolution<${types.join(', ')}>`, [
    scope.operand(op.x),
    scope.identifier(op.output),
    scope.operand(op.weight),
    bias.array,
    window(op.window, input, output, scope),
    input[1] ?? 1,
    output[1] ?? 1,
    op.group,
    scope.zeroPoint(op.x),
    scope.rescale(op),
    op.rescale.multiplier.length > 1,
  ]);
}

function matrixProduct(op: MatrixProduct, scope: CppScope): string {
  scope.use('matrix_product');
  const [a, b] = [scope.dims(op.a), scope.dims(op.b)];
  const lead = broadcastDims([a.slice(0, -2), b.slice(0, -2)]);
  const block = (dims: readonly number[], side: string): string =>
    scope.array(`${op.output} ${side} blocks`, 'std::uint32_t', broadcastIndex(dims.slice(0, -2), lead));
  if (op.rescale.multiplier.length > 1 && op.rescale.axis !== scope.dims(op.output).length - 1)
    throw new FxqError('E_UNSUPPORTED', `${op.node}: scales by row have no C++ kernel`);
  const bias = scope.bias(op.bias, op);
  const factors = [scope.factor(op.a, op), scope.factor(op.b, op)];
  const types = [scope.sum(op).text, ...factors, bias.type, scope.modes(op)];
  return call(`matrix_product<${types.join(', ')}>`, [
    scope.operand(op.a),
    scope.operand(op.b),
    scope.identifier(op.output),
    bias.array,
    block(a, 'left'),
    block(b, 'right'),
    sizeOf(lead),
    a.at(-2) ?? 1,
    a.at(-1) ?? 1,
    b.at(-1) ?? 1,
    scope.zeroPoint(op.a),
    scope.zeroPoint(op.b),
    scope.rescale(op),
    op.rescale.multiplier.length > 1,
  ]);
}

/** Element i of an operand, zero point subtracted. */
function element(name: string, op: Sum | Product, scope: CppScope): string {
  const target = scope.dims(op.output);
  const same = scope.dims(name).join() === target.join();
  const index = same ? 'i' : `${scope.broadcast(name, target)}(i)`;
  return `difference<${scope.factor(name, op)}>(${scope.operand(name)}[${index}], ${scope.zeroPoint(name)})`;
}

function elementwise(op: Sum | Product, expression: string, scope: CppScope): string {
  const count = sizeOf(scope.dims(op.output));
  const type = scope.sum(op).text;
  return (
    `for (std::size_t i = 0; i < ${count}; ++i) {\n` +
    `    const ${type} v = static_cast<${type}>(${expression});\n` +
    `    ${scope.identifier(op.output)}[i] = static_cast<${scope.type(op.output)}>` +
    `(rescale<${scope.modes(op)}>(v, ${scope.rescale(op)}, 0));\n  }`
  );
}

function sum(op: Sum, scope: CppScope): string {
  const type = scope.sum(op).text;
  const terms = op.terms.map(({ x, multiplier }) => {
    const integer = element(x, op, scope);
    if (multiplier === 1) return integer;
    const factor = scope.types.operand(
      { low: Math.min(multiplier, 0), high: multiplier },
      scope.sum(op),
    ).text;
    return `product<${type}>(${integer}, static_cast<${factor}>(${multiplier}))`;
  });
  return elementwise(op, terms.join(' + '), scope);
}

function product(op: Product, scope: CppScope): string {
  const factors = [op.a, op.b].map((name) => element(name, op, scope));
  return elementwise(op, `product<${scope.sum(op).text}>(${factors.join(', ')})`, scope);
}

function windowSum(op: WindowSum, scope: CppScope): string {
  scope.use('window_sum');
  const input = scope.dims(op.x);
  return call(`window_sum<${scope.sum(op).text}, ${scope.modes(op)}>`, [
    scope.operand(op.x),
    scope.identifier(op.output),
    window(op.window, input, scope.dims(op.output), scope),
    (input[0] ?? 1) * (input[1] ?? 1),
    scope.zeroPoint(op.x),
    scope.rescale(op),
  ]);
}

function windowMax(op: WindowMax, scope: CppScope): string {
  scope.use('window_max');
  const input = scope.dims(op.x);
  return call('window_max', [
    scope.operand(op.x),
    scope.identifier(op.output),
    window(op.window, input, scope.dims(op.output), scope),
    (input[0] ?? 1) * (input[1] ?? 1),
    resultWord(parseFormat(scope.value(op.output).format)).word.low,
  ]);
}

function axisSum(op: AxisSum, scope: CppScope): string {
  scope.use('axis_sum');
  const dims = scope.dims(op.x);
  const strides = stridesOf(dims);
  const part = (keep: boolean): string => {
    const axes = dims.map((_, axis) => axis).filter((axis) => op.axes.includes(axis) !== keep);
    const pick = (values: readonly number[]): number[] => axes.map((axis) => required(values[axis], 'axis'));
    return scope.view(pick(dims), pick(strides), 0);
  };
  return call(`axis_sum<${scope.sum(op).text}, ${scope.modes(op)}>`, [
    scope.operand(op.x),
    scope.identifier(op.output),
    part(true),
    sizeOf(scope.dims(op.output)),
    part(false),
    op.size,
    scope.zeroPoint(op.x),
    scope.rescale(op),
  ]);
}

function softmax(op: Softmax, scope: CppScope): string {
  scope.use('softmax');
  const dims = scope.dims(op.x);
  const { zeroPoint, format } = scope.value(op.output);
  const { word } = resultWord(parseFormat(format));
  const length = dims[op.axis] ?? 1;
  return call(`softmax<${scope.types.wide(softmaxBits(op, length, word.bits)).text}>`, [
    scope.operand(op.x),
    scope.identifier(op.output),
    sizeOf(dims.slice(0, op.axis)),
    length,
    sizeOf(dims.slice(op.axis + 1)),
    scope.numbers(`${op.output} exponentials`, op.exponentials),
    op.exponentials.length - 1,
    int64(op.multiplier),
    op.shift,
    zeroPoint,
    int64(word.high),
  ]);
}

/** Bits of `E · multiplier + s/2`, of s, and of a result. */
function softmaxBits({ exponentials, multiplier, shift }: Softmax, length: number, result: number): number {
  const largest = exponentials[0] ?? 1;
  const divisor = largest * length * 2 ** shift;
  return Math.max(unsignedBits(largest * multiplier + divisor), result) + 1;
}

function layerNorm(op: LayerNorm, scope: CppScope): string {
  scope.use('layer_norm');
  const wide = (bits: number): string => scope.types.wide(Math.min(bits, 64)).text;
  const { deviation, square, quotient } = layerNormBits(op, scope);
  const types = [
    scope.sum(op).text,
    wide(deviation),
    wide(square),
    digit(square),
    wide(quotient),
    scope.modes(op),
  ];
  return call(`layer_norm<${types.join(', ')}>`, [
    scope.operand(op.x),
    scope.identifier(op.output),
    sizeOf(scope.dims(op.x)) / op.size,
    op.size,
    scope.zeroPoint(op.x),
    int64(op.epsilon),
    op.rootShift,
    int64(op.unit),
    scope.operand(op.gamma),
    scope.operand(op.beta),
    scope.rescale(op),
  ]);
}

/** The first digit, to base 4, that a square can have. */
function digit(square: number): number {
  return Math.floor((Math.min(square, 64) - 2) / 2);
}

/** Bits of deviations from the mean, of their squares with guard bits for the root, and of dividends. */
function layerNormBits(
  op: LayerNorm,
  scope: CppScope,
): { deviation: number; square: number; quotient: number } {
  const { low, high } = integerRange(scope.program, op.x);
  const most = op.size * (high - low);
  const squares = (op.size * most ** 2) / 4 + Number(op.epsilon);
  const root = Math.sqrt(squares) * 2 ** op.rootShift;
  return {
    deviation: unsignedBits(most) + 1,
    square: unsignedBits(squares * 4 ** op.rootShift) + 2,
    quotient: unsignedBits(most * Number(op.unit) + 2 * root) + 1,
  };
}

/** Bits of a number that is not negative, with one to spare for what floating point rounds off. */
function unsignedBits(value: number): number {
  return Math.floor(Math.log2(Math.max(value, 1))) + 2;
}
