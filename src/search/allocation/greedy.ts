/** The heuristic check: from the best candidates down, the exchange with the least loss for the use it saves. */
import { candidatesAt, type Normalized } from './normalize.js';

/**
 * Candidates by benefit per cost, one per group, or undefined when greedy finds nothing that fits (which proves
 * nothing). Savings count as far as they shorten the excess over the limits.
 */
export function solveGreedily(problem: Normalized): number[] | undefined {
  const { options, limits } = problem;
  const choice = options.map(({ objective }) => objective.indexOf(Math.min(...objective)));
  const used = new Array<number>(limits).fill(0);
  options.forEach((option, g) => {
    for (let k = 0; k < limits; k++) used[k] = (used[k] ?? 0) + (option.use[choice[g] ?? 0]?.[k] ?? 0);
  });
  while (used.some((u) => u > 1 + 1e-12)) {
    let move: { group: number; to: number; rate: number } | undefined;
    options.forEach((option, group) => {
      const now = choice[group] ?? 0;
      option.objective.forEach((objective, to) => {
        const saved = used.reduce((sum, u, k) => {
          const step = (option.use[now]?.[k] ?? 0) - (option.use[to]?.[k] ?? 0);
          return sum + Math.min(step, Math.max(u - 1, 0));
        }, 0);
        if (saved <= 0) return;
        const rate = (objective - (option.objective[now] ?? 0)) / saved;
        if (move === undefined || rate < move.rate) move = { group, to, rate };
      });
    });
    if (move === undefined) return undefined;
    const { group, to } = move;
    const now = choice[group] ?? 0;
    used.forEach(
      (u, k) => (used[k] = u + (options[group]?.use[to]?.[k] ?? 0) - (options[group]?.use[now]?.[k] ?? 0)),
    );
    choice[group] = to;
  }
  return candidatesAt(problem, choice);
}
