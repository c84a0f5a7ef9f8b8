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
export { withBiases } from './bias.js';
export { BIAS_CORRECTIONS, correctBiases, type BiasCorrection, type BiasReport } from './correct-biases.js';
export { gridOf, isSolvable } from './layer-problem.js';
export { folderCache, type LayerCache } from './cache.js';
export {
  solvableLayers,
  solveWeights,
  type LayerReport,
  type SparseChoice,
  type SparseLayers,
  type SolveSettings,
  type SolvedLayers,
} from './solve-weights.js';
export {
  EFFORTS,
  SOLVERS,
  SOLVER_CHOICES,
  TAKES_GAPS,
  type Effort,
  type SolverChoice,
  type SolverName,
} from './solvers.js';
export { chooseLoss, lossProbe, sampleLosses, type LossKind } from './importance/output-loss.js';
export { squaredGradients } from './importance/squared-gradients.js';
