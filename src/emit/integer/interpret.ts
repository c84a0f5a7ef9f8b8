/** The reference interpreter: runs an integer program on the host, every operation exactly as `program.ts` defines it. */
import { FxqError, required } from '../../core/index.js';
import { WHOLE_TENSOR, dequantize, parseFormat, quantize } from '../../formats/index.js';
import { sizeOf, tensor, toFloat32, type Tensor } from '../../tensor/index.js';
import { type Codes } from './codes.js';
import {
  axisSum,
  convolution,
  matrixProduct,
  product,
  sum,
  windowMax,
  windowSum,
} from './interpret-linear.js';
import { layerNorm, softmax } from './interpret-normalize.js';
import { concat, move } from './interpret-move.js';
import { type Accumulators, type Operands } from './operands.js';
import { type ArithmeticOp, type CodeValue, type IntegerOp, type IntegerProgram } from './program.js';
import { channelRescaler, resultWord } from './rescale.js';

/** What the interpreter saw of an accumulator. */
export interface AccumulatorPeak {
  readonly low: number;
  readonly high: number;
}

export interface InterpreterResult {
  /** Dequantized outputs by float value name. */
  readonly outputs: ReadonlyMap<string, Tensor<'float32'>>;
  /** Codes of every value of the program. */
  readonly codes: ReadonlyMap<string, Codes>;
  /** Extreme final accumulator values by node. */
  readonly peaks: ReadonlyMap<string, AccumulatorPeak>;
}

/**
 * Runs a program.
 *
 * @param inputs float tensors by name, as the model takes them
 * @throws FxqError E_DATA for a missing input
 */
export function interpret(program: IntegerProgram, inputs: ReadonlyMap<string, Tensor>): InterpreterResult {
  const codes = new Map<string, Codes>();
  const peaks = new Map<string, AccumulatorPeak>();
  for (const { real, codes: name } of program.inputs) {
    const input = inputs.get(real);
    if (input === undefined) throw new FxqError('E_DATA', `the interpreter needs a value for '${real}'`);
    codes.set(name, encode(input, valueOf(program, name)));
  }
  const operands = createOperands(program, codes);
  for (const op of program.ops) codes.set(op.output, run(op, operands, peaks));
  return {
    outputs: new Map(
      program.outputs.map(({ real, codes: name }) => [
        real,
        decode(required(codes.get(name), name), valueOf(program, name)),
      ]),
    ),
    codes,
    peaks,
  };
}

function valueOf(program: IntegerProgram, name: string): CodeValue {
  return required(program.values.get(name), `value ${name}`);
}

function encode(input: Tensor, value: CodeValue): Codes {
  const parameters = {
    scale: Float32Array.of(value.scale),
    zeroPoint: Int32Array.of(value.zeroPoint),
  };
  const { codes } = quantize(parseFormat(value.format), toFloat32(input), WHOLE_TENSOR, parameters);
  return { dims: input.dims, data: codes };
}

function decode({ dims, data }: Codes, value: CodeValue): Tensor<'float32'> {
  const quantized = {
    codes: data,
    scale: Float32Array.of(value.scale),
    zeroPoint: Int32Array.of(value.zeroPoint),
  };
  return tensor('float32', dims, dequantize(parseFormat(value.format), quantized, WHOLE_TENSOR));
}

function createOperands(program: IntegerProgram, codes: ReadonlyMap<string, Codes>): Operands {
  const raw = (name: string): Codes => {
    const constant = program.constants.get(name);
    return constant === undefined
      ? required(codes.get(name), `codes of ${name}`)
      : { dims: constant.dims, data: constant.codes };
  };
  return {
    codes: raw,
    value: (name) => valueOf(program, name),
    integers(name) {
      const zeroPoint = program.values.get(name)?.zeroPoint ?? 0;
      const { dims, data } = raw(name);
      return { dims, data: zeroPoint === 0 ? data : data.map((code) => code - zeroPoint) };
    },
  };
}

function run(op: IntegerOp, operands: Operands, peaks: Map<string, AccumulatorPeak>): Codes {
  switch (op.kind) {
    case 'window-max':
      return windowMax(op, operands);
    case 'table': {
      const { dims, data } = operands.codes(op.x);
      const { low } = operands.value(op.x);
      return { dims, data: data.map((code) => op.table[code - low] as number) };
    }
    case 'softmax':
      return softmax(op, operands);
    case 'move':
      return move(op, operands);
    case 'concat':
      return concat(op, operands);
    default: {
      const accumulators = accumulate(op, operands);
      peaks.set(op.node, peakOf(accumulators.data));
      return rescale(op, accumulators, operands.value(op.output));
    }
  }
}

function accumulate(op: ArithmeticOp, operands: Operands): Accumulators {
  switch (op.kind) {
    case 'convolution':
      return convolution(op, operands);
    case 'matrix-product':
      return matrixProduct(op, operands);
    case 'sum':
      return sum(op, operands);
    case 'product':
      return product(op, operands);
    case 'window-sum':
      return windowSum(op, operands);
    case 'axis-sum':
      return axisSum(op, operands);
    case 'layer-norm':
      return layerNorm(op, operands);
  }
}

function peakOf(data: Float64Array): AccumulatorPeak {
  let low = 0;
  let high = 0;
  for (const v of data) {
    if (v < low) low = v;
    if (v > high) high = v;
  }
  return { low, high };
}

function rescale({ rescale: how }: ArithmeticOp, { dims, data }: Accumulators, result: CodeValue): Codes {
  const { word } = resultWord(parseFormat(result.format));
  const channels = how.multiplier.length === 1 ? 1 : (dims[how.axis] ?? 1);
  const inner = channels === 1 ? data.length : sizeOf(dims.slice(how.axis + 1));
  const rescalers = Array.from({ length: channels }, (_, c) =>
    channelRescaler(how, c, result.zeroPoint, word),
  );
  const codes = new Int32Array(data.length);
  for (let from = 0, run = 0; from < codes.length; from += inner, run++) {
    const toCode = required(rescalers[run % channels], 'a channel');
    for (let i = from; i < from + inner; i++) codes[i] = toCode(data[i] as number);
  }
  return { dims, data: codes };
}
