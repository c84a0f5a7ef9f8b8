/** sensitivity: how much the output changes when a layer takes a candidate — measured, or estimated from a backward pass. */
export {
  compareSensitivities,
  estimateSensitivities,
  summarizeRanks,
  type ComparedSensitivity,
  type MissingSensitivity,
  type RankSummary,
} from './compare.js';
export { measureSensitivity } from './measured.js';
export { SENSITIVITIES, type SensitivityName } from './methods.js';
export { chooseLoss, lossProbe, sampleLosses, type LossKind } from '../../solve/index.js';

export { rankAgreement, spearman, splitHalfReliability, type RankAgreement } from './ranks.js';
export {
  isFloat,
  outputsOf,
  type Realize,
  type Sensitivity,
  type SensitivityMethod,
  type Study,
  type StudyGroup,
} from './study.js';
