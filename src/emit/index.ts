/** emit: plans and solved weights written into a graph, or into C++. */
export {
  CPP_TYPES,
  testVectors,
  writeCpp,
  type CppFiles,
  type CppOptions,
  type CppTypes,
} from './cpp/index.js';
export {
  ACCUMULATOR_BITS,
  ACCUMULATOR_OVERFLOWS,
  FORMS,
  checkFormOptions,
  emitModel,
  isIntegerForm,
  tablePath,
  type AccumulatorOverflow,
  type CompanionFile,
  type Emission,
  type EmissionInput,
  type Form,
  type FormOptions,
} from './emit-model.js';
export {
  emitInteger,
  fitAccumulators,
  narrowLayers,
  sumsProducts,
  type AccumulatorWidth,
  type CalibratedRanges,
  type EmittedIntegers,
  type IntegerTable,
} from './integer/index.js';
export { opsetForSettings } from './opset.js';
export { emitQOperator } from './qoperator/index.js';
export { emitQdq, type SolvedWeights } from './qdq.js';
export { parameterShape } from './weight-scale.js';
