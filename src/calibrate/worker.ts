/** Entry of a worker thread: an observer that gets its batches as messages. */
import { workerData } from 'node:worker_threads';
import { serveThread } from '../core/index.js';
import { NO_CARRY } from '../engine/index.js';
import { openObserver } from './observe.js';
import { type Answer, type Request, type WorkerJob } from './worker-protocol.js';

const { model, taps } = workerData as WorkerJob;
// One thread a session: parallelism is between the workers.
const observer = openObserver(model, taps, NO_CARRY, 1);
// A failure is reported when the first request waits for it.
observer.catch(() => undefined);

serveThread<Request, Answer>(async (request) => {
  const { observe, sketches } = await observer;
  if (request.kind === 'sketches') return sketches();
  await observe(request);
  return undefined;
});
