/** Integer programs as ONNX graphs of standard operators, for any conforming runtime. */
import { FxqError, required } from '../../core/index.js';
import { namesRead, opsetOf, storeTensor, withGraph, type Model } from '../../onnx/index.js';
import { freshNames, type Fragment, type FreshName } from '../fragment.js';
import { accumulatorRanges, hull, integerRange, type Range } from './accumulator.js';
import { type Lowered } from './lower.js';
import { OnnxWriter } from './onnx-writer.js';
import { type ArithmeticOp, type CodeValue, type IntegerOp, type IntegerProgram } from './program.js';
import { writeDequantization, writeQuantization } from './write-border.js';
import {
  writeAxisSum,
  writeConvolution,
  writeMatrixProduct,
  writeProduct,
  writeSum,
  writeWindowSum,
  type WriteScope,
  type Written,
} from './write-linear.js';
import { writeConcat, writeMove, writeTable, writeWindowMax } from './write-move.js';
import { writeLayerNorm, writeSoftmax } from './write-normalize.js';
import { writeRescale } from './write-rescale.js';

/** Everything that is written exists since this opset. */
const LEAST_OPSET = 13;

/**
 * The integer graph of a lowered model; inputs and outputs keep names and types.
 *
 * @param model the prepared model that was lowered
 * @throws FxqError E_OPSET below opset 13
 */
export function writeIntegerModel(model: Model, { program, before, after }: Lowered): Model {
  const opset = opsetOf(model);
  if (opset < LEAST_OPSET) {
    throw new FxqError(
      'E_OPSET',
      `integer graphs need opset ${LEAST_OPSET}, the model has ${opset}`,
      `Raise the model's opset first.`,
    );
  }
  const { nodes, initializers: written } = writeProgram(program, freshNames(model.graph), opset);
  const kept = new Set([...before, ...after].flatMap((n) => [...namesRead(n)]));
  const initializers = new Map([...model.graph.initializers].filter(([name]) => kept.has(name)));
  for (const [name, t] of written) initializers.set(name, storeTensor(t));
  return withGraph(model, {
    ...model.graph,
    nodes: [...before, ...nodes, ...after],
    initializers,
    valueInfo: new Map(),
  });
}

/** Nodes and initializers of a program, from the quantization of its inputs to the dequantization of its outputs. */
export function writeProgram(program: IntegerProgram, fresh: FreshName, opset: number): Fragment {
  const to = new OnnxWriter(fresh, opset);
  const names = new Map<string, string>();
  const codes = (name: string): string => required(names.get(name), `codes of ${name}`);
  const value = (name: string): CodeValue => required(program.values.get(name), name);
  const rangeOf = (name: string): Range => integerRange(program, name);
  for (const { real, codes: name } of program.inputs) {
    names.set(name, fresh(`${name}_codes`));
    writeQuantization(to, real, value(name), codes(name));
  }
  for (const op of program.ops) {
    const range = 'rescale' in op ? accumulatorRanges(op, rangeOf, program.constants).reduce(hull) : NO_RANGE;
    names.set(op.output, fresh(`${op.output}_codes`));
    writeOp({ to, program, codes, rangeOf, range }, op, codes(op.output));
  }
  for (const { real, codes: name } of program.outputs)
    writeDequantization(to, codes(name), value(name), real);
  return to;
}

const NO_RANGE: Range = { low: 0, high: 0 };

function writeOp(scope: WriteScope, op: IntegerOp, output: string): void {
  switch (op.kind) {
    case 'window-max':
      writeWindowMax(scope, op, output);
      return;
    case 'table':
      writeTable(scope, op, output);
      return;
    case 'softmax':
      writeSoftmax(scope, op, output);
      return;
    case 'move':
      writeMove(scope, op, output);
      return;
    case 'concat':
      writeConcat(scope, op, output);
      return;
    default: {
      const result = required(scope.program.values.get(op.output), op.output);
      const sum = writeAccumulator(scope, op);
      const written = { ...sum, range: scope.range, rank: result.dims.length };
      writeRescale(scope.to, written, op.rescale, result, output);
    }
  }
}

function writeAccumulator(scope: WriteScope, op: ArithmeticOp): Written {
  switch (op.kind) {
    case 'convolution':
      return writeConvolution(scope, op);
    case 'matrix-product':
      return writeMatrixProduct(scope, op);
    case 'sum':
      return writeSum(scope, op);
    case 'product':
      return writeProduct(scope, op);
    case 'window-sum':
      return writeWindowSum(scope, op);
    case 'axis-sum':
      return writeAxisSum(scope, op);
    case 'layer-norm':
      return writeLayerNorm(scope, op);
  }
}
