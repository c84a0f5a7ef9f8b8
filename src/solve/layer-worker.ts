/** Entry of a worker thread that solves layers; parallelism is between such threads, so its products take one. */
import { serveThread } from '../core/index.js';
import { openRunner, type LayerJob } from './layer-runner.js';
import { type LayerSolution } from './problem.js';

const runner = openRunner(1);
// A failure is reported when the first job waits for it.
runner.catch(() => undefined);

serveThread<LayerJob, LayerSolution>(async (job) => (await runner).solve(job));
