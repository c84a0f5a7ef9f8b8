/** Threads that solve layers, of the built program: the same answers, and errors that find their way back. */
import { expect, it } from 'vitest';
import type * as Runner from '../../src/solve/layer-runner.js';
import { patternColumns } from '../../src/solve/index.js';
import { toyLayer } from './sparsity/toy-layer.js';

// Worker threads run compiled code only; `npm test` builds it first.
const built = new URL('../../dist/solve/layer-runner.js', import.meta.url).href;
const { openRunner, openRunners } = (await import(built)) as typeof Runner;

const JOBS: readonly Runner.LayerJob[] = [
  ...(['gptq', 'descent', 'adaround'] as const).map((solver, i) => ({
    problem: toyLayer(i, { bits: 3, cols: 32, rows: 8 }),
    solver,
    effort: 'fast' as const,
    seed: 4,
  })),
  {
    problem: toyLayer(3, { bits: 4, cols: 32, rows: 8 }),
    solver: 'descent',
    sparse: {
      columns: patternColumns({ in: 32, kernel: 1 }),
      pattern: { n: 2, m: 4, unit: 1 },
      method: 'joint',
    },
    effort: 'fast',
    seed: 4,
  },
];

it('give the answers of this thread, whichever of them takes a layer', async () => {
  const here = await openRunner(1);
  const beside = await openRunners(3);
  try {
    const all = JOBS.map((job) => beside.solve(job));
    for (const [i, job] of JOBS.entries()) expect(await all[i]).toEqual(await here.solve(job));
  } finally {
    await here.close();
    await beside.close();
  }
});

it('report what a solver refuses', async () => {
  const beside = await openRunners(2);
  const [job] = JOBS;
  if (job === undefined) throw new Error('no job');
  const broken = { ...job, problem: { ...job.problem, cols: 31 } };
  // One goes to the other thread, one stays here.
  const all = await Promise.allSettled([beside.solve(broken), beside.solve(broken)]);
  expect(all.map((r) => r.status)).toEqual(['rejected', 'rejected']);
  expect((await beside.solve(job)).solver).toBe('gptq');
  await beside.close();
});
