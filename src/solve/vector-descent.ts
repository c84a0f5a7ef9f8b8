/** Solvers of vector formats: descent over words and codes in turns, and successive rounding on words as they are. */
import { required } from '../core/index.js';
import { refitInTurns, total, type Learned, type LearnedTable } from './codebook-descent.js';
import {
  cheaperBySet,
  descendFrom,
  openDescent,
  type Descended,
  type DescentOptions,
  type DescentTask,
} from './descent.js';
import { GPTQ_DEFAULTS } from './gptq.js';
import { multiply } from './linear-algebra.js';
import { plainMatrices, type Matrices } from './matrices.js';
import { productsByGroup } from './measure.js';
import { baseline, settle } from './nearest.js';
import { type LayerProblem, type LayerSolution, type VectorWords } from './problem.js';
import { quadraticOf, type Product } from './quadratic.js';
import { refitWords } from './refit-words.js';
import { factorizeVectors, successiveWords, type VectorFactor } from './successive-words.js';
import { nearestOnWords, weightedWords, withTable } from './vector-grid.js';

const WORDS: LearnedTable = { place: withTable, refit: refitWords };

/**
 * Solves a layer in a vector format. Words start as those of the grid and as those that count input energy; on each,
 * codes descend from nearest words and from successive rounding; from the cheaper end on, words are refitted to codes and
 * codes descend again, as long as that pays. At the end no other word for one vector lowers the objective.
 *
 * @param rounds refits of the words, at most
 */
export async function vectorDescent(
  problem: LayerProblem,
  options: Partial<DescentOptions>,
  rounds: number,
  product: Product = multiply,
  matrices: Matrices = plainMatrices,
): Promise<LayerSolution> {
  // Factors of single columns are of no use here.
  const task = await openDescent(
    problem,
    { ...options, starts: ['nearest'], restarts: 0 },
    product,
    matrices,
  );
  const { starts = ['nearest', 'gptq'], restarts = 0 } = options;
  const factors = await factorizeVectors(task.quadratic, problem.cols, wordsOf(problem).size, matrices);
  let best: Learned | undefined;
  for (const start of [wordsOf(problem), weightedWords(problem, task.quadratic)]) {
    const found = await descendOnWords(task, start, starts, factors);
    if (best === undefined || total(found) < total(best)) best = found;
  }
  let learned = await refitInTurns(task, required(best, 'a descent'), rounds, WORDS);
  for (let i = 0; i < restarts; i++) {
    const on = { ...task, problem: withTable(problem, learned.levels) };
    const again = await successiveWords(on.problem, task.quadratic, learned.scale, factors, matrices);
    const found = cheaperBySet(problem, learned, await descendFrom(on, again));
    learned = await refitInTurns(task, { ...found, levels: learned.levels }, rounds, WORDS);
  }
  return settle(problem, 'descent', learned, baseline(problem), product);
}

function wordsOf({ grid }: LayerProblem): VectorWords {
  return required(grid.words, 'words of a grid');
}

/** The cheapest end of all starts on given words, for every set of rows that shares scales. */
async function descendOnWords(
  task: DescentTask,
  words: VectorWords,
  starts: DescentOptions['starts'],
  factors: readonly VectorFactor[],
): Promise<Learned> {
  const problem = { ...task.problem, grid: { ...task.problem.grid, words } };
  const on = { ...task, problem };
  const scale = Float64Array.from(words.scale);
  let best: Descended | undefined;
  for (const start of starts) {
    const codes =
      start === 'nearest'
        ? nearestOnWords(problem, words)
        : await successiveWords(problem, task.quadratic, scale, factors, task.matrices);
    const found = await descendFrom(on, codes);
    best = best === undefined ? found : cheaperBySet(problem, best, found);
  }
  return { ...required(best, 'a start of the descent'), levels: words.table };
}

/** Solves a layer by successive rounding, vector by vector, on the words of the grid (GPTVQ, arXiv 2402.15319). */
export async function vectorGptq(
  problem: LayerProblem,
  product: Product = multiply,
  matrices: Matrices = plainMatrices,
): Promise<LayerSolution> {
  const words = wordsOf(problem);
  const [hw] = await productsByGroup(problem, problem.moments.gram, [problem.weight], product);
  const quadratic = quadraticOf(problem, GPTQ_DEFAULTS.damping, hw);
  const factors = await factorizeVectors(quadratic, problem.cols, words.size, matrices);
  const scale = Float64Array.from(words.scale);
  const found = await successiveWords(problem, quadratic, scale, factors, matrices);
  return settle(problem, 'gptq', found, baseline(problem), product);
}
