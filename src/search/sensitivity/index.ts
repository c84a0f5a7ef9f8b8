/** sensitivity: how much the output changes when a layer takes a candidate — measured, or estimated from a backward pass. */
import { gramSensitivity, hessianSensitivity, importanceSensitivity } from './cheap.js';
import { measureSensitivity } from './measured.js';
import { type SensitivityMethod } from './study.js';

/** Methods by name. `measured` is what the others are compared with. */
export const SENSITIVITIES = {
  measured: (study, ctx) => measureSensitivity(study, ctx),
  gram: gramSensitivity,
  importance: importanceSensitivity,
  hessian: hessianSensitivity,
} as const satisfies Record<string, SensitivityMethod>;

export type SensitivityName = keyof typeof SENSITIVITIES;

export { measureSensitivity } from './measured.js';
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
