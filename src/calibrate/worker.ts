/** Entry of a worker thread: an observer that gets its batches as messages. */
import { parentPort, workerData } from 'node:worker_threads';
import { FxqError } from '../core/index.js';
import { NO_CARRY } from '../engine/index.js';
import { openObserver } from './observe.js';
import { type Reply, type Request, type WorkerJob } from './worker-protocol.js';

const { model, taps } = workerData as WorkerJob;
// One thread a session: parallelism is between the workers.
const observer = openObserver(model, taps, NO_CARRY, 1);
// A failure is reported when the first request waits for it.
observer.catch(() => undefined);

async function answer(request: Request): Promise<Reply> {
  const { observe, sketches } = await observer;
  if (request.kind === 'sketches') return { kind: 'sketches', sketches: await sketches() };
  await observe(request);
  return { kind: 'observed' };
}

function failure(error: unknown): Reply {
  const known = error instanceof FxqError ? error : undefined;
  const message = error instanceof Error ? error.message : String(error);
  return { kind: 'failed', code: known?.code ?? 'E_INTERNAL', message, fix: known?.fix ?? [] };
}

parentPort?.on('message', (request: Request) => {
  void answer(request)
    .catch(failure)
    .then((reply) => parentPort?.postMessage(reply));
});
