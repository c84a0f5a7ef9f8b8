/** Sensitivity methods by name: a new one is a line here. */
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
