/** The allocation problem: one candidate for every group of layers, one amount minimized, limits on the others. */
import { FxqError, assert } from '../../core/index.js';

/** A way to quantize the layers of a group, with all it costs: loss, bytes, bit operations … by name. */
export interface Candidate {
  readonly id: string;
  readonly amounts: Readonly<Record<string, number>>;
}

/** Layers that take one candidate together; usually a single layer. */
export interface Group {
  readonly name: string;
  readonly layers: readonly string[];
  readonly candidates: readonly Candidate[];
}

/** The total of an amount may not exceed `max`. */
export interface Limit {
  readonly amount: string;
  readonly max: number;
}

/**
 * A multiple-choice knapsack with several capacities. Which amount is minimized and which are limited is free: least
 * loss under a size budget and least size under a loss floor are the same problem.
 */
export interface AllocationProblem {
  readonly groups: readonly Group[];
  readonly minimize: string;
  readonly limits: readonly Limit[];
}

/** A candidate index for every group, with the totals of all amounts. */
export interface Allocation {
  readonly choice: readonly number[];
  readonly totals: Readonly<Record<string, number>>;
}

/** An amount of a candidate. @throws FxqError E_INTERNAL when it has none or it is not finite */
export function amountOf(candidate: Candidate, amount: string): number {
  const value = candidate.amounts[amount];
  assert(value !== undefined && Number.isFinite(value), `candidate ${candidate.id} has ${amount} = ${value}`);
  return value;
}

/** The candidate chosen for a group. */
export function chosen(groups: readonly Group[], choice: readonly number[], group: number): Candidate {
  const candidate = groups[group]?.candidates[choice[group] ?? -1];
  assert(candidate !== undefined, `no candidate ${choice[group]} in group ${group}`);
  return candidate;
}

/** Sums every amount that all chosen candidates have. */
export function evaluate(groups: readonly Group[], choice: readonly number[]): Allocation {
  const totals: Record<string, number> = {};
  const names = Object.keys(groups[0]?.candidates[0]?.amounts ?? {}).sort();
  for (const name of names) {
    totals[name] = groups.reduce((sum, _, g) => sum + amountOf(chosen(groups, choice, g), name), 0);
  }
  return { choice: [...choice], totals };
}

/** A limit with room for the rounding of a sum of reals; whole numbers are still compared exactly. */
export function ceilingOf(max: number): number {
  return max + 1e-12 * Math.abs(max);
}

/** Whether an allocation keeps every limit of the problem. */
export function keepsLimits(problem: AllocationProblem, allocation: Allocation): boolean {
  return problem.limits.every(({ amount, max }) => (allocation.totals[amount] ?? Infinity) <= ceilingOf(max));
}

/**
 * Joins groups that must agree into one: it has the candidates all of them offer, by id, at the sum of their amounts.
 *
 * @param ties sets of group names; sets that overlap are joined
 * @throws FxqError E_BUDGET when tied groups have no candidate in common
 */
export function tieGroups(groups: readonly Group[], ties: readonly (readonly string[])[]): Group[] {
  const leader = new Map(groups.map((g) => [g.name, g.name]));
  const find = (name: string): string => {
    const up = leader.get(name) ?? name;
    return up === name ? name : find(up);
  };
  for (const [first, ...rest] of ties) {
    for (const name of rest) if (first !== undefined) leader.set(find(name), find(first));
  }
  const members = new Map<string, Group[]>();
  for (const group of groups) {
    const key = find(group.name);
    members.set(key, [...(members.get(key) ?? []), group]);
  }
  return [...members.values()].map(joinGroups);
}

function joinGroups(groups: readonly Group[]): Group {
  const [first, ...rest] = groups;
  assert(first !== undefined, 'a tie without groups');
  if (rest.length === 0) return first;
  const candidates = first.candidates.flatMap((candidate): Candidate[] => {
    const same = rest.map((g) => g.candidates.find((c) => c.id === candidate.id));
    if (same.includes(undefined)) return [];
    const amounts = Object.fromEntries(
      Object.entries(candidate.amounts).map(([name, value]) => [
        name,
        same.reduce((sum, c) => sum + (c === undefined ? 0 : amountOf(c, name)), value),
      ]),
    );
    return [{ id: candidate.id, amounts }];
  });
  const layers = groups.flatMap((g) => g.layers);
  if (candidates.length === 0) {
    throw new FxqError(
      'E_BUDGET',
      `the layers ${layers.join(', ')} must agree, but have no candidate in common`,
      'Offer one candidate to all of them.',
    );
  }
  return { name: groups.map((g) => g.name).join('+'), layers, candidates };
}
