/** plan: the decisions — formats, granularity, parameters and reasons per tensor — and the targets they obey. */
export { guardBiases } from './bias-guard.js';
export { planQuantization, valuesToCalibrate } from './build.js';
export { checkTensorRules, matchRules, regularExpression } from './match.js';
export * from './plan.js';
export type { ValueTypes } from './roles.js';
export * from './settings.js';
export { chosenFormat, solvedFormat } from './solved-format.js';
export { isSymmetric, isSymmetricWeight } from './symmetry.js';
export { type OperatorSupport, type Role, type Target } from './target.js';
export { TARGETS, findTarget, type TargetName } from './targets/index.js';
export { preferUnsigned } from './unsigned.js';
