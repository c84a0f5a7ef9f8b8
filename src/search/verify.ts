/** The additive model held against real runs: check an allocation, and correct it where layers do not add up. */
import { FxqError, checkAbort, required, type Context } from '../core/index.js';
import {
  allocate,
  evaluate,
  type Allocation,
  type AllocationProblem,
  type Group,
} from './allocation/index.js';
import { assignmentOf, type Assignment, type SearchSpace } from './space.js';

/** The loss of a whole assignment, in the unit the user judges by: KL, points of accuracy lost … */
export type Judge = (assignment: Assignment) => Promise<number>;

/** Loss of every candidate of every group with the other groups as in an assignment, [groups][candidates]. */
export type Remeasure = (assignment: Assignment) => Promise<readonly (readonly number[])[]>;

/** Another assignment must lower the loss by this share: less is within what the choice of samples does. */
const WORTH_A_CHANGE = 0.02;

export interface Verified extends Allocation {
  /** What the additive model says. */
  readonly predicted: number;
  /** What the real run says. */
  readonly measured: number;
}

/** Runs an allocation for real. */
export async function verify(space: SearchSpace, allocation: Allocation, judge: Judge): Promise<Verified> {
  const measured = await judge(assignmentOf(space, allocation.choice));
  return { ...allocation, predicted: required(allocation.totals.loss, 'the loss'), measured };
}

/**
 * The best allocation under limits, corrected: the losses of all candidates are measured again with the other layers as
 * chosen, and what is best then is tried, as long as the real run gets better.
 *
 * @param rounds corrections, at most
 */
export async function allocateVerified(
  space: SearchSpace,
  problem: AllocationProblem,
  judge: Judge,
  remeasure: Remeasure,
  rounds: number,
  ctx: Context,
): Promise<Verified> {
  let best = await verify(space, allocate(problem), judge);
  for (let round = 0; round < rounds; round++) {
    checkAbort(ctx);
    const loss = await remeasure(assignmentOf(space, best.choice));
    const local = { ...problem, groups: withLosses(problem.groups, loss) };
    const { choice } = allocate(local);
    if (choice.every((c, g) => c === best.choice[g])) break;
    const next = await verify(space, evaluate(problem.groups, choice), judge);
    if (!(next.measured < best.measured * (1 - WORTH_A_CHANGE))) break;
    best = next;
  }
  return best;
}

function withLosses(groups: readonly Group[], loss: readonly (readonly number[])[]): Group[] {
  return groups.map((group, g) => ({
    ...group,
    candidates: group.candidates.map((candidate, c) => ({
      ...candidate,
      amounts: { ...candidate.amounts, loss: loss[g]?.[c] ?? candidate.amounts.loss ?? 0 },
    })),
  }));
}

/**
 * The cheapest allocation of a front whose real loss stays within a floor: bisection over the front, then the cheaper
 * neighbours, because the real loss need not fall as evenly as the predicted one.
 *
 * @param front from the cheapest to the best, as `convexFront` gives it
 * @param slack cheaper neighbours tried after the bisection
 * @param what  what the judge measures, for the message
 * @throws FxqError E_BUDGET when no point of the front reaches the floor
 */
export async function cheapestWithin(
  space: SearchSpace,
  front: readonly Allocation[],
  floor: number,
  judge: Judge,
  slack: number,
  ctx: Context,
  what = 'the loss',
): Promise<Verified> {
  if (front.length === 0)
    throw new FxqError(
      'E_BUDGET',
      'no point of the front keeps the budgets',
      'Loosen one of the budgets, or offer cheaper candidates.',
    );
  const tried = new Map<number, Verified>();
  const at = async (i: number): Promise<Verified> => {
    checkAbort(ctx);
    const known = tried.get(i) ?? (await verify(space, required(front[i], 'a point of the front'), judge));
    tried.set(i, known);
    return known;
  };
  let high = front.length - 1;
  const last = await at(high);
  if (last.measured > floor) {
    const all = [...tried.values()].map((v) => v.measured);
    throw new FxqError(
      'E_BUDGET',
      `no assignment keeps ${what} within ${floor}: the best candidates lose ${Math.min(...all).toPrecision(3)}`,
      'Offer better candidates (wider formats, a stronger solver), or allow a greater loss.',
    );
  }
  let low = -1;
  while (high - low > 1) {
    const middle = Math.floor((low + high) / 2);
    if ((await at(middle)).measured <= floor) high = middle;
    else low = middle;
  }
  for (let i = high - 1; i >= Math.max(0, high - slack); i--) if ((await at(i)).measured <= floor) high = i;
  return at(high);
}
