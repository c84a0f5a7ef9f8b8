/** Why a group got its candidate: what the neighbouring ones would have saved or cost, against the price of the budget. */
import { amountOf, chosen, type AllocationProblem, type Candidate } from './problem.js';
import { type AllocationResult } from './allocate.js';

/** Another candidate, with the change of each amount if it were taken. */
export interface Alternative {
  readonly id: string;
  readonly change: Readonly<Record<string, number>>;
  /** Change of the minimized amount plus the changes of the limited ones at their prices: what it would really cost. */
  readonly priced: number;
}

export interface Explanation {
  readonly group: string;
  readonly layers: readonly string[];
  readonly chosen: string;
  /** What is minimized, at the chosen candidate. */
  readonly amount: number;
  /** The alternative that comes closest among those that use less of the limits. */
  readonly cheaper?: Alternative;
  /** The alternative that comes closest among those with less of the minimized amount. */
  readonly better?: Alternative;
}

/** Explains the choice of every group. */
export function explain(problem: AllocationProblem, allocation: AllocationResult): Explanation[] {
  const { groups, minimize, limits } = problem;
  const amounts = [minimize, ...limits.map((l) => l.amount)];
  return groups.map((group, g) => {
    const choice = chosen(groups, allocation.choice, g);
    const alternatives = group.candidates
      .filter((c) => c !== choice)
      .map((c) => alternativeTo(choice, c, amounts, allocation));
    const saves = (a: Alternative): boolean => limits.some(({ amount }) => (a.change[amount] ?? 0) < 0);
    const cheaper = closest(alternatives.filter(saves));
    const better = closest(alternatives.filter((a) => (a.change[minimize] ?? 0) < 0));
    return {
      group: group.name,
      layers: group.layers,
      chosen: choice.id,
      amount: amountOf(choice, minimize),
      ...(cheaper === undefined ? {} : { cheaper }),
      ...(better === undefined ? {} : { better }),
    };
  });
}

function alternativeTo(
  choice: Candidate,
  other: Candidate,
  amounts: readonly string[],
  { prices }: AllocationResult,
): Alternative {
  const change = Object.fromEntries(
    amounts.map((name) => [name, amountOf(other, name) - amountOf(choice, name)]),
  );
  const [minimized = '', ...limited] = amounts;
  const priced = limited.reduce(
    (sum, name) => sum + (prices[name] ?? 0) * (change[name] ?? 0),
    change[minimized] ?? 0,
  );
  return { id: other.id, change, priced };
}

function closest(alternatives: readonly Alternative[]): Alternative | undefined {
  return alternatives.reduce<Alternative | undefined>(
    (best, a) => (best === undefined || a.priced < best.priced ? a : best),
    undefined,
  );
}

/** `int4/uint8 (loss +0.001000, size -120.0)`. */
export function describeAlternative({ id, change }: Alternative): string {
  const parts = Object.entries(change).map(([name, by]) => `${name} ${by > 0 ? '+' : ''}${significant(by)}`);
  return `${id} (${parts.join(', ')})`;
}

/** Four digits are enough to compare by eye. */
export function significant(x: number): string {
  return x.toPrecision(4);
}
