/** allocation: which candidate each layer gets so that the totals fit, exactly; fronts and reasons. */
export { allocate, type AllocationMethod, type AllocationResult } from './allocate.js';
export { describeAlternative, explain, significant, type Alternative, type Explanation } from './explain.js';
export { convexFront, paretoFront, type Front } from './front.js';
export {
  evaluate,
  keepsLimits,
  tieGroups,
  type Allocation,
  type AllocationProblem,
  type Candidate,
  type Group,
  type Limit,
} from './problem.js';
