/** program: tensor programs — an ONNX builder, reverse-mode gradients, optimizers and loops, run by the engine. */
export { openProgram, runProgram, toModel, type OpenProgram } from './compile.js';
export { GRADIENTS } from './gradients/table.js';
export { keepBest, startBest, type Best } from './best.js';
export { gradients, pullBack } from './gradients/walk.js';
export { GRADIENT_OPSET, inlineModel, type InlineOptions } from './inline.js';
export { loop, type LoopResult, type LoopStep } from './loop.js';
export { createProgram, feedsOf, isTensor, isValue, type Program } from './program.js';
export { leaves, mapTree, type MapTree, type Tree } from './tree.js';
export { type Operand, type Value, type ValueType } from './value.js';
export { type ConvOptions, type ConvTransposeOptions, type PoolOptions, type Window } from './ops/matrix.js';
export * from './optimizers.js';
export { uniform } from './random.js';
export * from './rounding.js';
export * from './schedules.js';
