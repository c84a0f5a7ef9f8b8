/** Where single layers are solved: in this thread, or in others beside it. */
import { availableParallelism } from 'node:os';
import { canStartThread, createRng, startThread } from '../core/index.js';
import { type WeightedLayer } from './layers.js';
import { openMatrices } from './matrices.js';
import { openProducts } from './products.js';
import { type LayerProblem, type LayerSolution } from './problem.js';
import { SOLVERS, type Effort, type LayerSolver } from './solvers.js';
import { formatPattern, solveSparse, type Pattern, type SparseSolver } from './sparsity/index.js';
import { matrixSize } from './weight-layout.js';

/** All that a solution depends on, as plain data. */
export interface LayerJob {
  readonly problem: LayerProblem;
  readonly solver: LayerSolver;
  /** Keeps a pattern instead, by a method of its own. */
  readonly sparse?: SparseJob;
  readonly effort: Effort;
  readonly seed: number;
}

export interface SparseJob {
  readonly columns: Int32Array;
  readonly pattern: Pattern;
  readonly method: SparseSolver;
}

export interface LayerRunner {
  /** Jobs that it takes at once. */
  readonly lanes: number;
  solve(job: LayerJob): Promise<LayerSolution>;
  close(): Promise<void>;
}

/** What a job's solver is called in reports. */
export function solverOf({ solver, sparse }: Pick<LayerJob, 'solver' | 'sparse'>): string {
  return sparse === undefined ? solver : `${formatPattern(sparse.pattern)} ${sparse.method}`;
}

/** A runner in this thread; its products of matrices take `threads` threads. */
export async function openRunner(threads: number): Promise<LayerRunner> {
  const { product, release } = await openProducts(threads);
  const matrices = await openMatrices(threads);
  return {
    lanes: 1,
    async solve(job) {
      const { problem, solver, sparse, effort, seed } = job;
      if (sparse !== undefined) {
        const { columns, pattern, method } = sparse;
        return { ...(await solveSparse(problem, columns, pattern, method)), solver: solverOf(job) };
      }
      const rng = createRng(seed).fork(`solve ${problem.name}`);
      return SOLVERS[solver](problem, effort, { rng, threads, matrices }, product);
    },
    async close() {
      await release();
      await matrices.release();
    },
  };
}

const ENTRY = new URL('./layer-worker.js', import.meta.url);

/** Jobs in the queue of another thread, so that it need not wait for the next one. */
const AHEAD = 2;

/** Runners in this thread and in others beside it, one a processor; a job goes to the one with the fewest. */
export async function openRunners(threads: number): Promise<LayerRunner> {
  // Others first: they load their modules while this thread does something else.
  const others = Array.from({ length: threads - 1 }, () => {
    const thread = startThread<LayerJob, LayerSolution>(ENTRY);
    return { solve: (job: LayerJob) => thread.request(job), close: () => thread.close(), lanes: AHEAD };
  });
  const runners = [...others, await openRunner(1)].map((runner) => ({ runner, busy: 0 }));
  const roomOf = ({ runner, busy }: (typeof runners)[number]): number => 1 - busy / runner.lanes;
  return {
    lanes: runners.reduce((sum, { runner }) => sum + runner.lanes, 0),
    async solve(job) {
      const chosen = runners.reduce((best, r) => (roomOf(r) > roomOf(best) ? r : best));
      chosen.busy++;
      try {
        return await chosen.runner.solve(job);
      } finally {
        chosen.busy--;
      }
    },
    async close() {
      await Promise.all(runners.map(({ runner }) => runner.close()));
    },
  };
}

/** Operations of successive rounding below which starting threads takes longer than they save. */
const WORTH_THREADS = 2e9;

/** Whether layers are solved faster by several threads. */
export function worthThreads(layers: readonly WeightedLayer[], threads: number): boolean {
  return (
    threads > 1 && canStartThread(ENTRY) && layers.reduce((sum, l) => sum + workOf(l), 0) > WORTH_THREADS
  );
}

export function threadCount(threads: number): number {
  return threads === 0 ? availableParallelism() : threads;
}

/** Operations of a layer: a triangular factor, successive rounding, and the products around it. */
export function workOf({ layout }: WeightedLayer): number {
  const { rows, cols } = matrixSize(layout);
  return (layout.groups * cols ** 3) / 3 + 17 * rows * cols ** 2;
}
