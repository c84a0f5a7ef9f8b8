/**
 * Accumulators of convolutions, products and sums in standard operators. ConvInteger and MatMulInteger take bytes, so
 * wider operands are split into bytes and the partial results combined in int64, exactly.
 */
import { FxqError, required } from '../../core/index.js';
import { type DType } from '../../tensor/index.js';
import { type Range } from './accumulator.js';
import { storageType, type OnnxWriter, type Wide } from './onnx-writer.js';
import {
  type AxisSum,
  type CodeConstant,
  type CodeValue,
  type Convolution,
  type IntegerProgram,
  type MatrixProduct,
  type Product,
  type Sum,
  type Window,
  type WindowSum,
} from './program.js';

/** Access to the graph under construction. */
export interface WriteScope {
  readonly to: OnnxWriter;
  readonly program: IntegerProgram;
  /** Name of a value's codes in the graph. */
  codes(name: string): string;
  /** Range of an operand's integers. */
  rangeOf(name: string): Range;
  /** Range of the accumulator being written. */
  readonly range: Range;
}

const BYTE = 256;

/** ConvInteger and MatMulInteger sum in int32. */
const INT32 = 2 ** 31;

/** One byte of an operand: `integers = Σ weight · (tensor − zeroPoint)`. */
interface BytePart {
  readonly tensor: string;
  readonly dtype: 'int8' | 'uint8';
  readonly zeroPoint: number;
  readonly weight: number;
  /** Largest magnitude of the part's integers. */
  readonly largest: number;
}

function isByte(dtype: DType): dtype is 'int8' | 'uint8' {
  return dtype === 'int8' || dtype === 'uint8';
}

/** Bytes of a value: low ones unsigned, the top one signed or not as the type is. */
function bytesOfValue(scope: WriteScope, value: CodeValue): BytePart[] {
  const { to } = scope;
  const dtype = storageType(value);
  const codes = scope.codes(value.name);
  if (isByte(dtype)) return [{ tensor: codes, dtype, zeroPoint: value.zeroPoint, weight: 1, largest: BYTE }];
  if (dtype === 'int32')
    throw new FxqError('E_UNSUPPORTED', `codes of '${value.name}' have more than 16 bits`, FEWER_BITS);
  const wide = to.cast(codes, 'int32');
  const low = to.lowBits(wide, 8, 'int32');
  const zeroLow = ((value.zeroPoint % BYTE) + BYTE) % BYTE;
  const high = to.call(
    'Div',
    [to.call('Sub', [wide, low], `${codes}_top`), to.scalar('int32', BYTE)],
    `${codes}_high`,
  );
  const top = dtype === 'int16' ? 'int8' : 'uint8';
  return [
    { tensor: to.cast(low, 'uint8'), dtype: 'uint8', zeroPoint: zeroLow, weight: 1, largest: BYTE },
    {
      tensor: to.cast(high, top),
      dtype: top,
      zeroPoint: (value.zeroPoint - zeroLow) / BYTE,
      weight: BYTE,
      largest: BYTE,
    },
  ];
}

const FEWER_BITS = 'Use activation and weight formats of at most 16 bits where the model multiplies.';

/** Below this magnitude a signed byte cannot make pairs of products saturate on any processor. */
const SAFE_SIGNED = 64;

/**
 * Bytes of a constant. Kernels for unsigned by signed bytes may saturate int16 on processors without VNNI; codes that
 * could are stored unsigned with zero point 128, for which all processors have exact kernels.
 */
function bytesOfConstant({ to }: WriteScope, { name, codes, dims, low, high }: CodeConstant): BytePart[] {
  const part = (values: Int32Array, bottom: number, top: number, weight: number): BytePart => {
    const largest = Math.max(-bottom, top);
    if (bottom >= 0)
      return {
        tensor: to.constant(name, 'uint8', dims, values),
        dtype: 'uint8',
        zeroPoint: 0,
        weight,
        largest,
      };
    if (largest <= SAFE_SIGNED)
      return {
        tensor: to.constant(name, 'int8', dims, values),
        dtype: 'int8',
        zeroPoint: 0,
        weight,
        largest,
      };
    const raised = values.map((v) => v + 128);
    return {
      tensor: to.constant(name, 'uint8', dims, raised),
      dtype: 'uint8',
      zeroPoint: 128,
      weight,
      largest,
    };
  };
  if (low >= -128 && high <= (low >= 0 ? 255 : 127)) return [part(codes, low, high, 1)];
  if (low < -(2 ** 15) || high >= 2 ** 15)
    throw new FxqError('E_UNSUPPORTED', `weight '${name}' has more than 16 bits`, FEWER_BITS);
  const lower = codes.map((c) => c & 255);
  return [
    part(lower, 0, 255, 1),
    part(
      codes.map((c) => c >> 8),
      low >> 8,
      high >> 8,
      BYTE,
    ),
  ];
}

function bytesOf(scope: WriteScope, name: string): BytePart[] {
  const constant = scope.program.constants.get(name);
  return constant === undefined
    ? bytesOfValue(scope, required(scope.program.values.get(name), name))
    : bytesOfConstant(scope, constant);
}

/** The second operand unsigned, for the same reason as in {@link bytesOfConstant}. */
function unsignedBytes(scope: WriteScope, name: string): BytePart[] {
  const { to } = scope;
  return bytesOf(scope, name).map((part) => {
    if (part.dtype === 'uint8' || scope.program.constants.has(name)) return part;
    const raised = to.cast(to.add(to.cast(part.tensor, 'int32'), 128, 'int32'), 'uint8');
    return { ...part, tensor: raised, dtype: 'uint8', zeroPoint: part.zeroPoint + 128 };
  });
}

/** A sum under construction. */
export interface Written {
  readonly name: string;
  readonly dtype: Wide;
}

/** Sums `multiply(x byte, w byte)` over all pairs of bytes. */
function combineBytes(
  scope: WriteScope,
  xs: readonly BytePart[],
  ws: readonly BytePart[],
  depth: number,
  multiply: (x: BytePart, w: BytePart) => string,
): Written {
  const { to, range } = scope;
  const pairs = xs.flatMap((x) => ws.map((w) => ({ x, w })));
  const single = pairs.length === 1;
  const fits = single
    ? Math.max(-range.low, range.high) < INT32
    : pairs.every(({ x, w }) => depth * x.largest * w.largest < INT32);
  if (!fits) {
    throw new FxqError(
      'E_UNSUPPORTED',
      `sums of ${depth} products can leave int32 (they reach ${Math.max(-range.low, range.high)})`,
      'Lower the bits of weights or activations of this layer.',
    );
  }
  const [first] = pairs;
  if (single && first !== undefined) return { name: multiply(first.x, first.w), dtype: 'int32' };
  const terms = pairs.map(({ x, w }) => {
    const partial = to.cast(multiply(x, w), 'int64');
    const weight = x.weight * w.weight;
    return weight === 1
      ? partial
      : to.call('Mul', [partial, to.scalar('int64', weight)], `${partial}_weighted`);
  });
  return { name: terms.reduce((a, b) => to.call('Add', [a, b], `${a}_sum`)), dtype: 'int64' };
}

function withBias(scope: WriteScope, sum: Written, bias: string | undefined, tail: number): Written {
  const { to, range, program } = scope;
  if (bias === undefined) return sum;
  const { codes } = required(program.constants.get(bias), bias);
  const fits = range.low >= -INT32 && range.high < INT32;
  const dtype = sum.dtype === 'int32' && fits ? 'int32' : 'int64';
  const name = sum.dtype === dtype ? sum.name : to.cast(sum.name, dtype);
  const dims = [codes.length, ...new Array<number>(tail).fill(1)];
  return { name: to.call('Add', [name, to.constant(bias, dtype, dims, codes)], `${name}_biased`), dtype };
}

function convolve(scope: WriteScope, x: BytePart, w: BytePart, window: Window, group: number): string {
  const { to } = scope;
  const { kernel, strides, pads, dilations } = window;
  return to.call(
    'ConvInteger',
    [x.tensor, w.tensor, to.scalar(x.dtype, x.zeroPoint), to.scalar(w.dtype, w.zeroPoint)],
    `${x.tensor}_conv`,
    { kernel_shape: kernel, strides, pads, dilations, group },
  );
}

export function writeConvolution(scope: WriteScope, op: Convolution): Written {
  const weight = required(scope.program.constants.get(op.weight), op.weight);
  const depth = weight.codes.length / (weight.dims[0] ?? 1);
  const sum = combineBytes(scope, bytesOf(scope, op.x), bytesOf(scope, op.weight), depth, (x, w) =>
    convolve(scope, x, w, op.window, op.group),
  );
  return withBias(scope, sum, op.bias, op.window.kernel.length);
}

export function writeMatrixProduct(scope: WriteScope, op: MatrixProduct): Written {
  const { to } = scope;
  const sum = combineBytes(scope, bytesOf(scope, op.a), unsignedBytes(scope, op.b), op.depth, (a, b) =>
    to.call(
      'MatMulInteger',
      [a.tensor, b.tensor, to.scalar(a.dtype, a.zeroPoint), to.scalar(b.dtype, b.zeroPoint)],
      `${a.tensor}_product`,
    ),
  );
  return withBias(scope, sum, op.bias, 0);
}

/** Sums over windows: a depthwise convolution with ones. */
export function writeWindowSum(scope: WriteScope, op: WindowSum): Written {
  const value = required(scope.program.values.get(op.x), op.x);
  const [, channels] = value.dims;
  if (typeof channels !== 'number')
    throw new FxqError('E_UNSUPPORTED', `the number of channels of '${op.x}' is not known`);
  const { kernel } = op.window;
  const dims = [channels, 1, ...kernel];
  const codes = new Int32Array(dims.reduce((a, b) => a * b, 1)).fill(1);
  const ones = bytesOfConstant(scope, { name: `${op.node}_ones`, dims, codes, low: 0, high: 1 });
  const depth = kernel.reduce((a, b) => a * b, 1);
  return combineBytes(scope, bytesOf(scope, op.x), ones, depth, (x, w) =>
    convolve(scope, x, w, op.window, channels),
  );
}

/** The type in which sums of a range are formed. */
function wideType({ low, high }: Range): Wide {
  return low >= -INT32 && high < INT32 ? 'int32' : 'int64';
}

/** Integers of an operand, zero point subtracted. */
export function writeIntegers(scope: WriteScope, name: string, dtype: Wide): string {
  const { to, program } = scope;
  const constant = program.constants.get(name);
  if (constant !== undefined) return to.constant(name, dtype, constant.dims, constant.codes);
  const { zeroPoint } = required(program.values.get(name), name);
  const codes = scope.codes(name);
  return to.add(to.cast(codes, dtype), -zeroPoint, dtype);
}

export function writeSum(scope: WriteScope, op: Sum): Written {
  const { to } = scope;
  const dtype = wideType(scope.range);
  const terms = op.terms.map(({ x, multiplier }) => {
    const integers = writeIntegers(scope, x, dtype);
    return multiplier === 1
      ? integers
      : to.call('Mul', [integers, to.scalar(dtype, multiplier)], `${integers}_scaled`);
  });
  return { name: terms.reduce((a, b) => to.call('Add', [a, b], `${a}_sum`)), dtype };
}

export function writeProduct(scope: WriteScope, op: Product): Written {
  const dtype = wideType(scope.range);
  const [a, b] = [op.a, op.b].map((name) => writeIntegers(scope, name, dtype)) as [string, string];
  return { name: scope.to.call('Mul', [a, b], `${a}_product`), dtype };
}

export function writeAxisSum(scope: WriteScope, op: AxisSum): Written {
  const { to } = scope;
  const dtype = wideType(scope.range);
  const integers = writeIntegers(scope, op.x, dtype);
  const axes = to.constant('axes', 'int64', [op.axes.length], op.axes);
  const keepdims = op.keepDims ? 1 : 0;
  return { name: to.call('ReduceSum', [integers, axes], `${integers}_sum`, { keepdims }), dtype };
}
