/** An observer in a worker thread. */
import { canStartThread, startThread } from '../core/index.js';
import { type Observer } from './observe.js';
import { type Answer, type Request, type WorkerJob } from './worker-protocol.js';

const ENTRY = new URL('./worker.js', import.meta.url);

export const CAN_START_WORKERS = canStartThread(ENTRY);

/** Starts a worker. Batches given to it are moved, not copied: their arrays are empty afterwards. */
export function startWorker(job: WorkerJob): Observer {
  const thread = startThread<Request, Answer>(ENTRY, job);
  return {
    ahead: 2,
    async observe({ count, inputs }) {
      const moved = new Set([...inputs.values()].map((t) => t.data.buffer as ArrayBuffer));
      await thread.request({ kind: 'observe', count, inputs }, [...moved]);
    },
    sketches: async () => (await thread.request({ kind: 'sketches' })) ?? [],
    close: () => thread.close(),
  };
}
