/** solve: codes for weights — layer problems, rounding methods, and the transforms before and after them. */
export { roundToNearest } from './round-to-nearest.js';
export { findSaturation, scalesWithoutSaturation, type SaturationRisk } from './saturation.js';
export * from './sparsity/index.js';
export { findWeightedLayers, layerWeight, type WeightedLayer } from './layers.js';
export { fromMatrix, matrixSize, scaleLayout, toMatrix, type WeightLayout } from './weight-layout.js';
export { collectMoments, type LayerData, type MomentsOptions, type SplitMoments } from './moments/collect.js';
export { type InputMoments } from './moments/sums.js';
export { descent } from './descent.js';
export { gptq } from './gptq.js';
export { dequantize, type LayerProblem, type LayerSolution, type Moments } from './problem.js';
export { floatTarget } from './quadratic.js';
