/** Descent over a table of levels that is learned, too: codes and levels in turn. */
import { required } from '../core/index.js';
import { weightedGrid, withLevels } from './codebook.js';
import {
  descendFrom,
  descendFromStarts,
  gradientFrom,
  openDescent,
  type Descended,
  type DescentOptions,
  type DescentTask,
} from './descent.js';
import { multiply } from './linear-algebra.js';
import { plainMatrices, type Matrices } from './matrices.js';
import { baseline, settle } from './nearest.js';
import { type LayerProblem, type LayerSolution } from './problem.js';
import { type Product } from './quadratic.js';
import { refitLevels } from './refit-levels.js';

/** Rounds end when they gain less than this share of the objective. */
const WORTH_A_ROUND = 1e-3;

/** Codes, the levels or words they are on, and what they cost. */
export type Learned = Descended & { readonly levels: readonly number[] };

/** A table that is learned: a problem with other entries, and the entries that suit given codes best. */
export interface LearnedTable {
  place(problem: LayerProblem, levels: readonly number[]): LayerProblem;
  refit: typeof refitLevels;
}

const LEVELS: LearnedTable = {
  place: (problem, levels) => ({ ...problem, grid: withLevels(problem.grid, levels) }),
  refit: refitLevels,
};

/**
 * Solves a layer on a codebook. Levels start as those of the grid and as those that count input energy; codes descend on
 * each table as on any grid; from the cheaper end on, levels are refitted to codes and codes descend again, as long as
 * that pays.
 *
 * @param rounds refits of the levels, at most
 */
export async function codebookDescent(
  problem: LayerProblem,
  options: Partial<DescentOptions>,
  rounds: number,
  product: Product = multiply,
  matrices: Matrices = plainMatrices,
): Promise<LayerSolution> {
  const task = await openDescent(problem, options, product, matrices);
  const nearestMatrix = baseline(problem);
  let best: Learned | undefined;
  for (const grid of [problem.grid, weightedGrid(problem, task.quadratic, nearestMatrix.scale)]) {
    const found = await descendFromStarts({ ...task, problem: { ...problem, grid } }, nearestMatrix);
    if (best === undefined || total(found) < total(best)) best = { ...found, levels: grid.levels ?? [] };
  }
  const learned = await refitInTurns(task, required(best, 'a descent'), rounds, LEVELS);
  return settle(problem, 'descent', learned, nearestMatrix, product);
}

/** Refits a table to codes and descends from there, as long as that pays; the objective never rises. */
export async function refitInTurns(
  task: DescentTask,
  start: Learned,
  rounds: number,
  table: LearnedTable,
): Promise<Learned> {
  const onTable = (levels: readonly number[]): DescentTask => ({
    ...task,
    problem: table.place(task.problem, levels),
  });
  let best = start;
  for (let round = 0; round < rounds; round++) {
    const on = onTable(best.levels);
    const refitted = table.refit(on.problem, task.quadratic, best, await gradientFrom(on, best));
    const found = await descendFrom(onTable(refitted.levels), refitted);
    const gain = 1 - total(found) / total(best);
    if (gain > 0) best = { ...found, levels: refitted.levels };
    if (!(gain > WORTH_A_ROUND)) break;
  }
  return best;
}

/** What codes cost in all. */
export function total({ cost }: Descended): number {
  return cost.reduce((sum, c) => sum + c, 0);
}
