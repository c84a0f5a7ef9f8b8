/** onnx: the model in memory, its protobuf form, files, editing and building. Nothing here runs a model. */
export * from './builder.js';
export { GraphEditor, namesOf, renameInputs, renameValues } from './editor.js';
export {
  MESSAGE_LIMIT,
  parseModel,
  readModel,
  serializeModel,
  writeModel,
  type WriteOptions,
} from './file.js';
export { functionsOf, type ModelFunction } from './functions.js';
export { SUPPORTED, checkModel } from './invariants.js';
export * from './model.js';
export {
  dataInputs,
  dataOutputs,
  operatorFacts,
  weightSlots,
  type OperatorCategory,
  type OperatorFacts,
  type Positions,
  type WeightSlot,
} from './operators.js';
export { loadTensor, storeTensor, tensorBytes, tensorChunks } from './stored-tensor.js';
export { parseTensor } from './tensor-file.js';
export { type Placement } from './tensor-proto.js';
export { formatGraph, formatModel, formatNode, type TextOptions } from './text.js';
