/** Bounds: the Lagrangian relaxation prices the limits; what it proves too dear is removed before the exact solvers run. */
import { candidatesAt, type Normalized, type Options } from './normalize.js';

export interface Relaxation {
  /** Price of each limit. */
  readonly prices: readonly number[];
  /** No allocation has a lower objective. */
  readonly bound: number;
  /** Best feasible choice met on the way, as candidate indices; undefined when none was. */
  readonly incumbent: readonly number[] | undefined;
  /** Objective of the incumbent, infinite without one. */
  readonly best: number;
}

const ITERATIONS = 400;
const PATIENCE = 20;

/**
 * Maximizes L(λ) = Σ_g min_j (c_gj + λ·u_gj) − Σλ over λ ≥ 0 by subgradient steps of Polyak's length. For any λ, L(λ)
 * bounds the optimum from below. Feasible minimizers, improved by single exchanges, become the incumbent.
 */
export function relax(problem: Normalized): Relaxation {
  const { options, limits } = problem;
  let prices = new Array<number>(limits).fill(0);
  let bestPrices = prices;
  let bound = -Infinity;
  let incumbent = improve(problem, start(problem));
  let best = incumbent === undefined ? Infinity : objectiveOf(options, incumbent);
  let length = 2;
  for (let i = 0, stale = 0; i < ITERATIONS && best - bound > 1e-12; i++) {
    const { value, choice } = minimizer(problem, prices);
    if (value > bound) {
      bound = value;
      bestPrices = prices;
      stale = 0;
    } else if (++stale === PATIENCE) {
      length /= 2;
      stale = 0;
    }
    const improved = improve(problem, choice);
    if (improved !== undefined && objectiveOf(options, improved) < best) {
      incumbent = improved;
      best = objectiveOf(options, improved);
    }
    const slope = usesOf(problem, choice).map((u) => u - 1);
    const norm = slope.reduce((sum, s) => sum + s * s, 0);
    if (norm === 0) break;
    const gap = (best < Infinity ? best : options.length) - value;
    const step = (length * Math.max(gap, 1e-12)) / norm;
    prices = prices.map((p, k) => Math.max(p + step * (slope[k] ?? 0), 0));
  }
  return { prices: bestPrices, bound, incumbent: incumbent && candidatesAt(problem, incumbent), best };
}

/** The problem without candidates whose choice would lift the bound above the incumbent. */
export function reduce(problem: Normalized, { prices, bound, best }: Relaxation): Normalized {
  const options = problem.options.map((option): Options => {
    const priced = option.objective.map((c, j) => c + priceOf(option.use[j], prices));
    const least = Math.min(...priced);
    const kept = priced.flatMap((p, j) => (bound + p - least <= best + 1e-12 ? [j] : []));
    return {
      index: kept.map((j) => option.index[j] ?? 0),
      objective: kept.map((j) => option.objective[j] ?? 0),
      use: kept.map((j) => option.use[j] ?? []),
    };
  });
  return { ...problem, options };
}

/** λ·u. */
export function priceOf(use: readonly number[] | undefined, prices: readonly number[]): number {
  return prices.reduce((sum, p, k) => sum + p * (use?.[k] ?? 0), 0);
}

/** Σ objective at one position per group. */
export function objectiveOf(options: readonly Options[], choice: readonly number[]): number {
  return options.reduce((sum, option, g) => sum + (option.objective[choice[g] ?? 0] ?? 0), 0);
}

function usesOf({ options, limits }: Normalized, choice: readonly number[]): number[] {
  const used = new Array<number>(limits).fill(0);
  options.forEach((option, g) => {
    for (let k = 0; k < limits; k++) used[k] = (used[k] ?? 0) + (option.use[choice[g] ?? 0]?.[k] ?? 0);
  });
  return used;
}

function minimizer(problem: Normalized, prices: readonly number[]): { value: number; choice: number[] } {
  let value = -prices.reduce((sum, p) => sum + p, 0);
  const choice = problem.options.map((option) => {
    let at = 0;
    let least = Infinity;
    option.objective.forEach((c, j) => {
      const priced = c + priceOf(option.use[j], prices);
      if (priced < least) [least, at] = [priced, j];
    });
    value += least;
    return at;
  });
  return { value, choice };
}

/** The positions with the least largest use: the most careful start. */
function start({ options }: Normalized): number[] {
  return options.map((option) => {
    const worst = option.use.map((use) => Math.max(...use, 0));
    return worst.indexOf(Math.min(...worst));
  });
}

/** Exchanges single candidates for better ones while everything fits; undefined when the start does not fit. */
function improve(problem: Normalized, choice: readonly number[]): number[] | undefined {
  const used = usesOf(problem, choice);
  if (used.some((u) => u > 1)) return undefined;
  const result = [...choice];
  for (let changed = true; changed;) {
    changed = false;
    problem.options.forEach((option, g) => {
      const now = result[g] ?? 0;
      let next = now;
      option.objective.forEach((c, j) => {
        const room = used.every((u, k) => u + (option.use[j]?.[k] ?? 0) - (option.use[now]?.[k] ?? 0) <= 1);
        if (room && c < (option.objective[next] ?? 0)) next = j;
      });
      if (next === now) return;
      used.forEach((u, k) => (used[k] = u + (option.use[next]?.[k] ?? 0) - (option.use[now]?.[k] ?? 0)));
      result[g] = next;
      changed = true;
    });
  }
  return result;
}
