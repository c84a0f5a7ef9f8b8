/** The exact check: dynamic programming over partial allocations, kept while nothing dominates them or bounds them out. */
import { candidatesAt, type Normalized } from './normalize.js';
import { priceOf, type Relaxation } from './relaxation.js';

interface State {
  readonly objective: number;
  readonly use: readonly number[];
  /** No completion has a lower objective. */
  readonly bound: number;
  readonly at: number;
  readonly before: State | undefined;
}

/** Partial allocations kept in the first round; ten times as many in each further one. */
const FIRST_WIDTH = 2000;

/** Kept states that a new one is compared with. A dominated state that slips through costs time, not correctness. */
const RIVALS = 32;

/**
 * Candidates of an optimum, one per group, or undefined when nothing fits (Nemhauser and Ullmann 1969, with the
 * Lagrangian bound of the remaining groups). A round that drops the least promising states for want of room gives a
 * better incumbent to the next; the round that drops none is exact.
 */
export function solveDynamicProgram(
  problem: Normalized,
  relaxation: Relaxation,
): readonly number[] | undefined {
  let best = relaxation.best;
  let choice = relaxation.incumbent;
  for (let width = FIRST_WIDTH; ; width *= 10) {
    const { final, exact } = sweep(problem, relaxation.prices, best, width);
    if (final !== undefined && final.objective <= best) {
      best = final.objective;
      choice = candidatesAt(problem, trace(final));
    }
    if (exact) return choice;
  }
}

function sweep(
  { options, limits }: Normalized,
  prices: readonly number[],
  best: number,
  width: number,
): { final: State | undefined; exact: boolean } {
  const total = prices.reduce((sum, p) => sum + p, 0);
  const priced = options.map((o) => Math.min(...o.objective.map((c, j) => c + priceOf(o.use[j], prices))));
  let rest = priced.reduce((sum, p) => sum + p, -total);
  let exact = true;
  let states: State[] = [
    { objective: 0, use: new Array<number>(limits).fill(0), bound: rest, at: -1, before: undefined },
  ];
  options.forEach((option, g) => {
    rest -= priced[g] ?? 0;
    const grown = states.flatMap((state) =>
      option.objective.flatMap((c, at): State[] => {
        const use = state.use.map((u, k) => u + (option.use[at]?.[k] ?? 0));
        const objective = state.objective + c;
        const bound = objective + priceOf(use, prices) + rest;
        const lives = bound <= best + 1e-12 && use.every((u) => u <= 1 + 1e-12);
        return lives ? [{ objective, use, bound, at, before: state }] : [];
      }),
    );
    states = undominated(grown);
    if (states.length <= width) return;
    exact = false;
    states = states.sort((a, b) => a.bound - b.bound).slice(0, width);
  });
  const [final] = states.sort((a, b) => a.objective - b.objective);
  return { final, exact };
}

function trace(final: State): number[] {
  const positions: number[] = [];
  for (let state: State | undefined = final; state?.before !== undefined; state = state.before)
    positions.push(state.at);
  return positions.reverse();
}

/** States without those that a kept one beats in objective and every use, cheapest objective first. */
function undominated(states: State[]): State[] {
  states.sort((a, b) => a.objective - b.objective || compare(a.use, b.use));
  const kept: State[] = [];
  for (const state of states) {
    // Sorted by objective, the last kept state of a single limit has the least use so far: it alone decides.
    const rivals = kept.slice(-RIVALS);
    if (!rivals.some((k) => k.use.every((u, i) => u <= (state.use[i] ?? 0)))) kept.push(state);
  }
  return kept;
}

function compare(a: readonly number[], b: readonly number[]): number {
  const k = a.findIndex((u, i) => u !== b[i]);
  return k < 0 ? 0 : (a[k] ?? 0) - (b[k] ?? 0);
}
