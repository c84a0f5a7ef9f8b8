/** The least loss under budgets by one sensitivity, corrected where simulated runs show that layers do not add up. */
import { type Context } from '../core/index.js';
import {
  allocateVerified,
  measureSensitivity,
  type Group,
  type Limit,
  type Verified,
} from '../search/index.js';
import { type OpenSearch } from './open-search.js';
import { realizations, simulatedLoss } from './simulated-loss.js';

/** Corrections of the assignment where layers do not add up. */
const CORRECTIONS = 2;

/**
 * Allocates, runs, and corrects.
 *
 * @throws FxqError E_BUDGET when no assignment keeps the limits
 */
export function bestWithin(
  open: OpenSearch,
  groups: readonly Group[],
  limits: readonly Limit[],
  ctx: Context,
  corrections = CORRECTIONS,
): Promise<Verified> {
  const { study, space } = open;
  return allocateVerified(
    space,
    { groups, minimize: 'loss', limits },
    simulatedLoss(open, ctx),
    async (assignment) => (await measureSensitivity(study, ctx, await realizations(study, assignment))).loss,
    corrections,
    ctx,
  );
}
