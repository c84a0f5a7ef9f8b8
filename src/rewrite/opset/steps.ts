/** Every version step of the standard operators between opset 7 and 26 that is more than new element types or options. */
import { AXES_STEPS } from './axes.js';
import { CONTROL_STEPS } from './control.js';
import { NORMALIZATION_STEPS } from './normalization.js';
import { REDUCTION_STEPS } from './reduction.js';
import { SAMPLING_STEPS } from './sampling.js';
import { type StepTable } from './step.js';

export const STEPS: StepTable = {
  ...AXES_STEPS,
  ...CONTROL_STEPS,
  ...NORMALIZATION_STEPS,
  ...REDUCTION_STEPS,
  ...SAMPLING_STEPS,
};
