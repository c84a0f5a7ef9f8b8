/** search: which layer gets which format — sensitivity, costs, allocation under budgets, Pareto fronts. */
export * from './allocation/index.js';
export * from './costs/index.js';
export * from './sensitivity/index.js';
export { NO_CACHE, cached, openCache, type SearchCache } from './cache.js';
export {
  DEFAULT_AXES,
  candidateId,
  candidatesFor,
  searchLayers,
  type CandidateAxes,
  type LayerCandidate,
  type SearchLayer,
} from './layers.js';
export {
  candidatesOf,
  paretoPoint,
  pointRules,
  readPareto,
  writePareto,
  type ParetoFile,
  type ParetoPoint,
} from './pareto-file.js';
export {
  contestSentence,
  explanationCells,
  explanationTable,
  paretoCells,
  paretoTable,
  sensitivityCells,
  sensitivityTable,
} from './pareto-table.js';
export { averageCurvature, curvatureLosses, hasAveragedCurvature } from './averaged-curvature.js';
export {
  bestBeyondChance,
  combineLosses,
  uniformWithin,
  type Contender,
  type ContestResult,
  type LossBySample,
} from './contenders.js';
export { openStudy, type OpenStudy, type StudySettings } from './open-study.js';
export { createRealizer, type RealizeSettings } from './realize.js';
export { simulate, type ActivationGrid, type Realization } from './simulate.js';
export {
  FLOAT_FORMATS,
  INT8_FORMATS,
  allocationGroups,
  assignmentOf,
  assignmentRules,
  groupLayers,
  limitsOf,
  restOf,
  totalsAt,
  type Assignment,
  type SearchGroup,
  type SearchSpace,
} from './space.js';
export {
  allocateVerified,
  cheapestWithin,
  verify,
  type Judge,
  type Remeasure,
  type Verified,
} from './verify.js';
