/** Allocation: the exact optimum of a problem, or what the checking methods make of it. */
import { FxqError, assert } from '../../core/index.js';
import { solveDynamicProgram } from './dynamic-program.js';
import { solveGreedily } from './greedy.js';
import { solveIntegerProgram } from './integer-program.js';
import { normalize, type Normalized } from './normalize.js';
import { evaluate, keepsLimits, type Allocation, type AllocationProblem } from './problem.js';
import { reduce, relax } from './relaxation.js';

/** `integer` and `dynamic` are exact, `greedy` is the usual heuristic. */
export type AllocationMethod = 'integer' | 'dynamic' | 'greedy';

export interface AllocationResult extends Allocation {
  /** The method that answered: `dynamic` also where the integer program gave up or its answer was off by rounding. */
  readonly method: AllocationMethod;
  /** Change of the minimized amount for one unit more of each limit's, at the Lagrangian bound (≥ 0; 0 when slack). */
  readonly prices: Readonly<Record<string, number>>;
}

/**
 * Chooses one candidate per group.
 *
 * @throws FxqError E_BUDGET when no choice keeps all limits
 */
export function allocate(problem: AllocationProblem, method: AllocationMethod = 'integer'): AllocationResult {
  assert(
    problem.groups.every((g) => g.candidates.length > 0),
    'a group without candidates',
  );
  const normalized = normalize(problem);
  if (normalized.options.some((o) => o.index.length === 0)) throw cannotFit(problem);
  if (method === 'greedy') {
    const choice = solveGreedily(normalized);
    if (choice === undefined) throw cannotFit(problem);
    return { ...evaluate(problem.groups, choice), method, prices: {} };
  }
  const relaxation = relax(normalized);
  const reduced = reduce(normalized, relaxation);
  const prices = realPrices(problem, normalized, relaxation.prices);
  const answer = method === 'integer' ? solveIntegerProgram(reduced) : undefined;
  if (answer !== undefined) {
    const allocation = evaluate(problem.groups, answer);
    if (keepsLimits(problem, allocation)) return { ...allocation, method, prices };
  }
  const choice = solveDynamicProgram(reduced, relaxation);
  if (choice === undefined) throw cannotFit(problem);
  return { ...evaluate(problem.groups, choice), method: 'dynamic', prices };
}

function realPrices(
  { limits }: AllocationProblem,
  { unit }: Normalized,
  prices: readonly number[],
): Record<string, number> {
  const price = (k: number): number =>
    unit.use[k] === 0 ? 0 : ((prices[k] ?? 0) * unit.objective) / (unit.use[k] ?? 1);
  return Object.fromEntries(limits.map(({ amount }, k) => [amount, price(k)]));
}

function cannotFit({ limits }: AllocationProblem): FxqError {
  const list = limits.map(({ amount, max }) => `${amount} ≤ ${max}`).join(' and ');
  return new FxqError(
    'E_BUDGET',
    `no assignment keeps ${list}`,
    'Loosen one of the budgets, or offer cheaper candidates.',
  );
}
