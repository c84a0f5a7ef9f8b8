/** data: samples for a model from arrays, images, test sets or a generator, with declared preprocessing. */
export { openDataSet, refuseUnknownInputs, type DataSet } from './data-set.js';
export { constantDims, fillWithValue } from './fill.js';
export { modelInput, type ModelInput } from './inputs.js';
export { readLabels, selectLabels, type Labels } from './labels.js';
export { PREPROCESS_PRESETS, type PreprocessPreset } from './presets.js';
export {
  DATA_KINDS,
  DERIVATION_RULES,
  validateDataSpec,
  type DataKind,
  type DataSpec,
  type InputSpec,
  type PreprocessSpec,
} from './spec.js';
