/** The exact solver: an integer linear program, x_gj ∈ {0, 1}, Σ_j x_gj = 1, solved by branch and cut (package yalps). */
import { solve } from 'yalps';
import { candidatesAt, type Normalized } from './normalize.js';

/**
 * The package compares with an absolute 1e-8 and rounds its objective to that. Amounts of up to a million make the
 * comparison relative to 1e-14.
 */
const SCALE = 1e6;
const MAX_BRANCHES = 200_000;
const MAX_PIVOTS = 100_000;

/**
 * Candidates of an optimum, one per group; undefined when there is none, or when the package gave up (the simplex method
 * cycled, the tree grew beyond its limit). The caller has another exact method to tell the two apart.
 */
export function solveIntegerProgram(problem: Normalized): number[] | undefined {
  const { options, limits } = problem;
  const constraints = new Map<string, { equal: number } | { max: number }>();
  const variables = new Map<string, Map<string, number>>();
  for (let k = 0; k < limits; k++) constraints.set(`limit ${k}`, { max: SCALE });
  options.forEach((option, g) => {
    constraints.set(`group ${g}`, { equal: 1 });
    option.objective.forEach((objective, j) => {
      const row = new Map([
        ['objective', objective * SCALE],
        [`group ${g}`, 1],
      ]);
      for (let k = 0; k < limits; k++) row.set(`limit ${k}`, (option.use[j]?.[k] ?? 0) * SCALE);
      variables.set(`${g} ${j}`, row);
    });
  });
  const model = {
    direction: 'minimize',
    objective: 'objective',
    constraints,
    variables,
    integers: true,
  } as const;
  const { status, variables: ones } = solve(model, { maxIterations: MAX_BRANCHES, maxPivots: MAX_PIVOTS });
  if (status !== 'optimal') return undefined;
  const positions = new Array<number>(options.length).fill(-1);
  for (const [key] of ones.filter(([, value]) => value > 0.5)) {
    const [g, j] = key.split(' ').map(Number);
    if (g !== undefined && j !== undefined) positions[g] = j;
  }
  return positions.includes(-1) ? undefined : candidatesAt(problem, positions);
}
