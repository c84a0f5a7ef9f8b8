/** solve: codes for weights — layer problems, rounding methods, and the transforms before and after them. */
export { roundToNearest } from './round-to-nearest.js';
export { findSaturation, scalesWithoutSaturation, type SaturationRisk } from './saturation.js';
export * from './sparsity/index.js';
export {
  findWeightedLayers,
  fromMatrix,
  matrixSize,
  toMatrix,
  type WeightLayout,
  type WeightedLayer,
} from './layers.js';
export { collectMoments, type InputMoments, type MomentsOptions, type Samples } from './collect-moments.js';
