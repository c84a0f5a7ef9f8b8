/** solve: codes for weights — layer problems, rounding methods, and the transforms before and after them. */
export { groupingOf, roundToNearest, roundWeight } from './round-to-nearest.js';
export { findSaturation, scalesWithoutSaturation, type SaturationRisk } from './saturation.js';
export * from './distill/index.js';
export * from './sparsity/index.js';
export { findWeightedLayers, layerWeight, type WeightedLayer } from './layers.js';
export {
  fromMatrix,
  matrixSize,
  reductionOf,
  scaleLayout,
  toMatrix,
  type WeightLayout,
} from './weight-layout.js';
export {
  collectMoments,
  FAST_MOMENTS,
  fitSamples,
  type LayerData,
  type MomentsOptions,
  type SplitMoments,
} from './moments/collect.js';
export { type InputMoments } from './moments/sums.js';
export { descent } from './descent.js';
export { gptq } from './gptq.js';
export { dequantize, type LayerProblem, type LayerSolution, type Moments } from './problem.js';
export { floatTarget, type Product } from './quadratic.js';
export { multiply as plainProduct } from './linear-algebra.js';
export { productsByGroup } from './measure.js';
export { openProducts } from './products.js';
export { withBiases } from './bias.js';
export { BIAS_CORRECTIONS, correctBiases, type BiasCorrection, type BiasReport } from './correct-biases.js';
export { openSmoothingMeter, type SmoothedProduct, type SmoothingMeter } from './smoothing-error.js';
export {
  checkSolver,
  isPower,
  isSolvable,
  planProblem,
  realWeight,
  toSolvedWeight,
  type PlannedProblem,
} from './layer-problem.js';
export { autoSolver, isWorthSolving } from './auto-solver.js';
export { learnBinaryPoints, type LearnedPoints } from './binary-point/learn.js';
export { hasGradient, hasOpenPoint } from './binary-point/points.js';
export { folderCache, type LayerCache } from './cache.js';
export {
  solvableLayers,
  solveWeights,
  type SparseChoice,
  type SparseLayers,
  type SolveSettings,
} from './solve-weights.js';
export { blockOptions } from './block/effort.js';
export { ROUNDINGS, type Rounding } from './block/learned-weight.js';
export { withRoundedWeights } from './rounded-weights.js';
export { type BlockReport, type LayerReport, type SolvedLayers } from './solved.js';
export { solveBlocks, type BlockOptions } from './block/solve-blocks.js';
export {
  BLOCK_SOLVER,
  EFFORTS,
  SOLVERS,
  isSolverName,
  SOLVER_CHOICES,
  type Effort,
  type SolverChoice,
  type LayerSolver,
  type SolverName,
} from './solvers.js';
export { chooseLoss, lossProbe, sampleLosses, type LossKind } from './importance/output-loss.js';
export { squaredGradients } from './importance/squared-gradients.js';
export * from './activation/index.js';
export * from './synthesis/index.js';
