/** The table of solvers. A new one is one file and one row here. */
import { STOCHASTIC } from './round-to-nearest.js';
import { codebookDescent } from './codebook-descent.js';
import { descent, type DescentOptions } from './descent.js';
import { gptq } from './gptq.js';
import { adaQuant } from './learned/ada-quant.js';
import { adaRound } from './learned/ada-round.js';
import { type SolverContext } from './learned/gram-program.js';
import { lowRank } from './learned/low-rank.js';
import { nupes } from './learned/nupes.js';
import { type LayerProblem, type LayerSolution } from './problem.js';
import { type Product } from './quadratic.js';
import { vectorDescent, vectorGptq } from './vector-descent.js';

/** How much work a solver may do. */
export const EFFORTS = ['fast', 'balanced', 'best'] as const;
export type Effort = (typeof EFFORTS)[number];

export type Solver = (
  problem: LayerProblem,
  effort: Effort,
  ctx: SolverContext,
  product: Product,
) => Promise<LayerSolution>;

const DESCENT: Readonly<Record<Effort, Partial<DescentOptions>>> = {
  fast: { starts: ['gptq'], refits: 3 },
  balanced: {},
  best: { scales: ['mse', 'gram'], restarts: 3, pairs: true },
};

const LEVEL_REFITS: Readonly<Record<Effort, number>> = { fast: 5, balanced: 10, best: 20 };

const ITERATIONS: Readonly<Record<Effort, number>> = { fast: 500, balanced: 2000, best: 6000 };

/** Solvers that look at the inputs of a layer, by name. */
export const SOLVERS = {
  gptq: (problem, _effort, ctx, product) =>
    problem.grid.words === undefined
      ? gptq(problem, {}, product, ctx.matrices)
      : vectorGptq(problem, product, ctx.matrices),
  descent: (problem, effort, ctx, product) =>
    descentFor(problem)(problem, DESCENT[effort], LEVEL_REFITS[effort], product, ctx.matrices),
  adaround: (problem, effort, ctx, product) =>
    adaRound(problem, { iterations: ITERATIONS[effort] }, ctx, product),
  lowrank: (problem, effort, ctx, product) =>
    lowRank(problem, { iterations: ITERATIONS[effort] }, ctx, product),
  adaquant: (problem, effort, ctx, product) =>
    adaQuant(problem, { iterations: ITERATIONS[effort] }, ctx, product),
  nupes: (problem, effort, ctx, product) => nupes(problem, { iterations: ITERATIONS[effort] }, ctx, product),
} as const satisfies Record<string, Solver>;

/** Descent on a grid that is given, or together with a table that is learned. */
function descentFor({ grid }: LayerProblem): typeof codebookDescent {
  if (grid.words !== undefined) return vectorDescent;
  if (grid.entries !== undefined) return codebookDescent;
  return (problem, options, _rounds, product, matrices) => descent(problem, options, product, matrices);
}

/** Solvers that look at one layer. */
export type LayerSolver = keyof typeof SOLVERS;

/** Solvers that go on from the codes of a layer solver, over several layers at once. */
export const BLOCK_SOLVER = 'block';

export type SolverName = LayerSolver | typeof BLOCK_SOLVER;

export function isSolverName(name: string): name is SolverName {
  return name in SOLVERS || name === BLOCK_SOLVER;
}

/** Solvers that move from code to code whatever the distance; the learned ones round to all integers of a range. */
export const TAKES_GAPS: ReadonlySet<string> = new Set<SolverName>(['gptq', 'descent']);

/** What a user may ask for: a solver, rounding to nearest, or the choice between them by format and data. */
export const SOLVER_CHOICES = [
  'auto',
  'nearest',
  STOCHASTIC,
  ...(Object.keys(SOLVERS) as LayerSolver[]),
  BLOCK_SOLVER,
] as const;
export type SolverChoice = (typeof SOLVER_CHOICES)[number];
