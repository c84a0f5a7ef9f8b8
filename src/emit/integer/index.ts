/** emit/integer: models without floating point between input and output, their reference semantics and proofs. */
export {
  accumulatorRanges,
  hull,
  integerRange,
  signedBits,
  type Range,
  type RangeOf,
} from './accumulator.js';
export { broadcastDims, broadcastIndex, type Codes } from './codes.js';
export { refuseOverflow } from './detect-overflow.js';
export { emitInteger, type EmittedIntegers } from './emit.js';
export { fitAccumulators, narrowLayers, type FittedPlan } from './fit-accumulators.js';
export { interpret, type AccumulatorPeak, type InterpreterResult } from './interpret.js';
export { RULES, lowerToIntegers, type Lowered } from './lower.js';
export { type LoweringInput } from './lowering.js';
export { storageType } from './onnx-writer.js';
export * from './program.js';
export { channelRescaler, multiplierFor, resultWord, roundShift, scaleAndRound } from './rescale.js';
export { writeIntegerModel, writeProgram } from './write.js';
export { integerTable, type IntegerTable, type ValueRow, type WeightRow } from './table.js';
export {
  accumulatorWidths,
  narrowAccumulators,
  sumsProducts,
  type AccumulatorWidth,
  type CalibratedRanges,
  type NarrowedPlan,
} from './widths.js';
