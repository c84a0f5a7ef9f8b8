/** An observer in a worker thread. */
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { Worker, type TransferListItem } from 'node:worker_threads';
import { FxqError } from '../core/index.js';
import { type Observer } from './observe.js';
import { type Reply, type Request, type WorkerJob } from './worker-protocol.js';

const ENTRY = new URL('./worker.js', import.meta.url);

/** Worker threads need compiled code: TypeScript sources, as in unit tests, observe in the thread they run in. */
export const CAN_START_WORKERS = existsSync(fileURLToPath(ENTRY));

interface Waiting {
  resolve(reply: Reply): void;
  reject(error: Error): void;
}

/** Starts a worker. Batches given to it are moved, not copied: their arrays are empty afterwards. */
export function startWorker(job: WorkerJob): Observer {
  const worker = new Worker(ENTRY, { workerData: job });
  const waiting: Waiting[] = [];
  worker.on('message', (reply: Reply) => waiting.shift()?.resolve(reply));
  let ended: Error | undefined;
  const end = (error: Error): void => {
    ended ??= error;
    for (const { reject } of waiting.splice(0)) reject(ended);
  };
  worker.on('error', end);
  worker.on('exit', () => end(new FxqError('E_INTERNAL', 'internal: a calibration thread ended early')));
  const request = async (message: Request, moved: TransferListItem[] = []): Promise<Reply> => {
    const reply = await new Promise<Reply>((resolve, reject) => {
      if (ended !== undefined) return reject(ended);
      waiting.push({ resolve, reject });
      worker.postMessage(message, moved);
    });
    if (reply.kind === 'failed') throw new FxqError(reply.code, reply.message, reply.fix);
    return reply;
  };
  return {
    ahead: 2,
    async observe({ count, inputs }) {
      const moved = new Set([...inputs.values()].map((t) => t.data.buffer as ArrayBuffer));
      await request({ kind: 'observe', count, inputs }, [...moved]);
    },
    async sketches() {
      const reply = await request({ kind: 'sketches' });
      return reply.kind === 'sketches' ? reply.sketches : [];
    },
    async close() {
      await worker.terminate();
    },
  };
}
