/** distill: recovery of quantized networks from the float one, without labels. */
export { distill, type DistillInput, type DistillReport, type Distilled } from './distill.js';
export { lateFeatures } from './features.js';
export { FEATURE_WEIGHTS, distillSettings, type DistillSettings, type FeatureWeights } from './settings.js';
export { type TypedModel } from './student.js';
