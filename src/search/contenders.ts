/** Assignments that a searched one has to beat. */
import {
  evaluate,
  keepsLimits,
  type Allocation,
  type AllocationProblem,
  type Group,
} from './allocation/index.js';

/** One way to an assignment, and how its written model did. */
export interface Contender {
  /** A sensitivity, `combined`, `corrected`, or `uniform`. */
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

/** Losses below this share of the greatest are as good as none. */
const NEGLIGIBLE = 1e-12;

/**
 * The geometric means of two estimates of the same losses. They err in different ways, so their mean is rarely far off
 * where one of them is; and it asks for no common scale, because a factor on all losses changes no allocation.
 */
export function combineLosses(groups: readonly Group[], others: readonly Group[]): Group[] {
  const lossOf = (g: number, c: number, of: readonly Group[]): number =>
    of[g]?.candidates[c]?.amounts.loss ?? 0;
  const least = (of: readonly Group[]): number =>
    NEGLIGIBLE *
    of.flatMap((g) => g.candidates.map((c) => c.amounts.loss ?? 0)).reduce((a, b) => Math.max(a, b), 0);
  const [floor, other] = [least(groups), least(others)];
  return groups.map((group, g) => ({
    ...group,
    candidates: group.candidates.map((candidate, c) => {
      const [a, b] = [Math.max(lossOf(g, c, groups), floor), Math.max(lossOf(g, c, others), other)];
      return { ...candidate, amounts: { ...candidate.amounts, loss: Math.sqrt(a * b) } };
    }),
  }));
}

/** How a model did: what models are compared by, sample by sample. */
export type LossBySample = readonly number[];

/**
 * Which of several models is best, by losses on the same samples: each one in turn takes the place of the best so far
 * when it is better by more than the standard error of their difference. So what comes first wins where chance decides.
 */
export function bestBeyondChance(models: readonly LossBySample[]): number {
  return models.reduce((best, losses, i) => {
    const gains = losses.map((loss, s) => (models[best]?.[s] ?? loss) - loss);
    const mean = gains.reduce((a, b) => a + b, 0) / gains.length;
    const variance = gains.reduce((sum, gain) => sum + (gain - mean) ** 2, 0) / Math.max(gains.length - 1, 1);
    return mean > Math.sqrt(variance / gains.length) ? i : best;
  }, 0);
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
