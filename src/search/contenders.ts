/** Assignments that a searched one has to beat. */
import { evaluate, keepsLimits, type Allocation, type AllocationProblem } from './allocation/index.js';

/** One way to an assignment, and how its written model did. */
export interface Contender {
  /** A sensitivity, `corrected`, or `uniform`. */
  readonly from: string;
  /** Loss of the written model. */
  readonly written: number;
  /** What it is compared by: the loss, or for scores KL with averaged curvature. */
  readonly steady: number;
}

/** What competed for a point. */
export interface ContestResult {
  /** Whose assignment the point is. */
  readonly taken: string;
  readonly contenders: readonly Contender[];
}

/**
 * One candidate for all groups that have a choice, the best by the problem's own amounts among those that keep the
 * limits; undefined where none does.
 */
export function uniformWithin(problem: AllocationProblem): Allocation | undefined {
  const { groups, minimize } = problem;
  const free = groups.filter((g) => g.candidates.length > 1);
  const offered = (free[0] ?? groups[0])?.candidates.map((c) => c.id) ?? [];
  const uniform = offered
    .filter((id) => free.every((g) => g.candidates.some((c) => c.id === id)))
    .map((id) =>
      evaluate(
        groups,
        groups.map((g) =>
          Math.max(
            0,
            g.candidates.findIndex((c) => c.id === id),
          ),
        ),
      ),
    )
    .filter((allocation) => keepsLimits(problem, allocation));
  const lossOf = ({ totals }: Allocation): number => totals[minimize] ?? Infinity;
  return uniform.reduce<Allocation | undefined>(
    (best, a) => (best === undefined || lossOf(a) < lossOf(best) ? a : best),
    undefined,
  );
}
