/** Pareto fronts of one amount against another: the convex one, and the full one. */
import { assert } from '../../core/index.js';
import { amountOf, evaluate, type Allocation, type Candidate, type Group } from './problem.js';

interface Step {
  readonly group: number;
  readonly to: number;
  /** Objective saved for each unit of cost added; falls along the hull. */
  readonly rate: number;
}

/**
 * Every allocation that is optimal at some price: the lower convex hull, cheapest first. Consecutive points differ in
 * one group.
 */
export function convexFront(groups: readonly Group[], minimize: string, against: string): Allocation[] {
  const hulls = groups.map((g) => lowerHull(g.candidates, minimize, against));
  const steps = hulls.flatMap((hull, group) =>
    hull.slice(1).map((to, i): Step => ({
      group,
      to,
      rate: rateOf(groups[group], hull[i] ?? 0, to, minimize, against),
    })),
  );
  // Rates fall inside a group, so a stable sort keeps every group's steps in order.
  steps.sort((a, b) => b.rate - a.rate);
  const choice = hulls.map((hull) => hull[0] ?? 0);
  return [
    evaluate(groups, choice),
    ...steps.map(({ group, to }) => {
      choice[group] = to;
      return evaluate(groups, choice);
    }),
  ];
}

/** Candidate indices on the lower convex hull, from the cheapest to the one with the least objective. */
function lowerHull(candidates: readonly Candidate[], minimize: string, against: string): number[] {
  const x = (i: number): number => amountOf(at(candidates, i), against);
  const y = (i: number): number => amountOf(at(candidates, i), minimize);
  const order = candidates.map((_, i) => i).sort((a, b) => x(a) - x(b) || y(a) - y(b));
  const hull: number[] = [];
  for (const i of order) {
    if (hull.length > 0 && y(i) >= y(hull[hull.length - 1] ?? 0)) continue;
    while (hull.length > 1) {
      const [a = 0, b = 0] = hull.slice(-2);
      if ((y(a) - y(b)) * (x(i) - x(b)) > (y(b) - y(i)) * (x(b) - x(a))) break;
      hull.pop();
    }
    hull.push(i);
  }
  return hull;
}

function rateOf(
  group: Group | undefined,
  from: number,
  to: number,
  minimize: string,
  against: string,
): number {
  assert(group !== undefined, 'a step of no group');
  const [a, b] = [at(group.candidates, from), at(group.candidates, to)];
  return (amountOf(a, minimize) - amountOf(b, minimize)) / (amountOf(b, against) - amountOf(a, against));
}

export interface Front {
  /** Undominated allocations, cheapest first. */
  readonly points: readonly Allocation[];
  /** False when there were more than could be kept and the front was thinned to one point a cell of cost. */
  readonly exact: boolean;
}

interface State {
  readonly cost: number;
  readonly objective: number;
  readonly at: number;
  readonly before: State | undefined;
}

/**
 * Every undominated allocation, group by group (Nemhauser and Ullmann 1969).
 *
 * @param maxPoints most partial allocations kept; above it, the best in each of as many equal cells of cost
 */
export function paretoFront(
  groups: readonly Group[],
  minimize: string,
  against: string,
  maxPoints = 10_000,
): Front {
  let states: State[] = [{ cost: 0, objective: 0, at: -1, before: undefined }];
  let exact = true;
  for (const { candidates } of groups) {
    const grown = states.flatMap((before) =>
      candidates.map((candidate, index): State => ({
        cost: before.cost + amountOf(candidate, against),
        objective: before.objective + amountOf(candidate, minimize),
        at: index,
        before,
      })),
    );
    states = undominated(grown);
    if (states.length <= maxPoints) continue;
    exact = false;
    states = thin(states, maxPoints);
  }
  return { points: states.map((state) => evaluate(groups, trace(state))), exact };
}

function undominated(states: State[]): State[] {
  states.sort((a, b) => a.cost - b.cost || a.objective - b.objective);
  let least = Infinity;
  return states.filter(({ objective }) => objective < least && ((least = objective), true));
}

/** Of states sorted by cost, the last (best) in each cell, and the first of all. */
function thin(states: readonly State[], cells: number): State[] {
  const low = states[0]?.cost ?? 0;
  const width = ((states[states.length - 1]?.cost ?? 0) - low) / cells;
  const cell = (s: State | undefined): number => Math.floor(((s?.cost ?? Infinity) - low) / width);
  return states.filter((state, i) => i === 0 || cell(state) !== cell(states[i + 1]));
}

function trace(final: State): number[] {
  const choice: number[] = [];
  for (let state: State | undefined = final; state?.before !== undefined; state = state.before)
    choice.push(state.at);
  return choice.reverse();
}

function at(candidates: readonly Candidate[], index: number): Candidate {
  const candidate = candidates[index];
  assert(candidate !== undefined, `no candidate ${index}`);
  return candidate;
}
