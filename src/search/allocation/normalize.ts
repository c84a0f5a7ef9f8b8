/** The problem in the solvers' units: costs above each group's least, room above the least total, both scaled to 1. */
import { FxqError } from '../../core/index.js';
import { amountOf, ceilingOf, type AllocationProblem, type Candidate } from './problem.js';

/** What is left of one group: rows of candidates that can be part of an optimum. */
export interface Options {
  /** Candidate index in the group. */
  readonly index: readonly number[];
  /** Objective above the group's least, in units of the largest difference in any group. */
  readonly objective: readonly number[];
  /** Use of every limit above the group's least, in units of the room left; [candidates][limits]. */
  readonly use: readonly (readonly number[])[];
}

/** Minimize Σ objective subject to Σ use ≤ 1 for each of `limits` limits. All numbers are non-negative. */
export interface Normalized {
  readonly options: readonly Options[];
  readonly limits: number;
  /** What 1 stands for, in the problem's own units. */
  readonly unit: { readonly objective: number; readonly use: readonly number[] };
}

/**
 * Scales the problem and removes candidates that cannot fit or that another one of their group beats in everything.
 *
 * @throws FxqError E_BUDGET when even the cheapest candidates break a limit
 */
export function normalize(problem: AllocationProblem): Normalized {
  const { groups, minimize, limits } = problem;
  const least = (candidates: readonly Candidate[], amount: string): number =>
    Math.min(...candidates.map((c) => amountOf(c, amount)));
  const rooms = limits.map(({ amount, max }) => {
    const minimum = groups.reduce((sum, g) => sum + least(g.candidates, amount), 0);
    const room = ceilingOf(max) - minimum;
    if (room < 0) throw tooTight(amount, max, minimum);
    return room;
  });
  const spread = Math.max(
    ...groups.map(
      (g) => Math.max(...g.candidates.map((c) => amountOf(c, minimize))) - least(g.candidates, minimize),
    ),
    0,
  );
  const options = groups.map(({ candidates }): Options => {
    const base = least(candidates, minimize);
    const floors = limits.map(({ amount }) => least(candidates, amount));
    const rows = candidates.map((candidate, index) => ({
      index,
      objective: spread === 0 ? 0 : (amountOf(candidate, minimize) - base) / spread,
      use: limits.map(({ amount }, k) =>
        ratio(amountOf(candidate, amount) - (floors[k] ?? 0), rooms[k] ?? 0),
      ),
    }));
    const kept = rows
      .filter((row) => row.use.every((u) => u <= 1 + 1e-12))
      .filter((row, i, all) => !all.some((other, j) => beats(other, row, j < i)));
    return {
      index: kept.map((row) => row.index),
      objective: kept.map((row) => row.objective),
      use: kept.map((row) => row.use),
    };
  });
  return { options, limits: limits.length, unit: { objective: spread, use: rooms } };
}

interface Row {
  readonly objective: number;
  readonly use: readonly number[];
}

/** Dominance; of equal rows the first stays. */
function beats(a: Row, b: Row, first: boolean): boolean {
  if (a === b || a.objective > b.objective || a.use.some((u, k) => u > (b.use[k] ?? 0))) return false;
  return first || a.objective < b.objective || a.use.some((u, k) => u < (b.use[k] ?? 0));
}

/** Candidate indices of one position per group: what every solver returns. */
export function candidatesAt({ options }: Normalized, positions: readonly number[]): number[] {
  return positions.map((at, g) => options[g]?.index[at] ?? -1);
}

/** Use of no room at all is infinite, unless nothing is used. */
function ratio(used: number, room: number): number {
  return used === 0 ? 0 : used / room;
}

function tooTight(amount: string, max: number, minimum: number): FxqError {
  return new FxqError(
    'E_BUDGET',
    `no assignment keeps ${amount} ≤ ${max}: the least possible is ${minimum}`,
    `Allow ${amount} at least ${minimum}, or offer cheaper candidates.`,
  );
}
