/** solve: codes for weights — layer problems, rounding methods, and the transforms before and after them. */
export { roundToNearest } from './round-to-nearest.js';
export { findSaturation, scalesWithoutSaturation, type SaturationRisk } from './saturation.js';
export * from './sparsity/index.js';
export { findWeightedLayers, type WeightedLayer } from './layers.js';
export { fromMatrix, matrixSize, toMatrix, type WeightLayout } from './weight-layout.js';
export { collectMoments, type LayerData, type MomentsOptions } from './moments/collect.js';
export { type InputMoments } from './moments/sums.js';
