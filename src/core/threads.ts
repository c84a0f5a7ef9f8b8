/** Worker threads: requests that another thread answers in their order, failures included. */
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { parentPort, Worker, type TransferListItem } from 'node:worker_threads';
import { FxqError, type ErrorCode } from './errors.js';

/** The other thread, as the one that started it sees it. */
export interface Thread<Request, Answer> {
  /** Asks; arrays in `moved` are handed over, not copied, and empty afterwards. */
  request(message: Request, moved?: TransferListItem[]): Promise<Answer>;
  /** Ends the thread once everything asked has an answer. */
  close(): Promise<void>;
}

type Reply<Answer> =
  | { readonly kind: 'answered'; readonly answer: Answer }
  | {
      readonly kind: 'failed';
      readonly code: ErrorCode;
      readonly message: string;
      readonly fix: readonly string[];
    };

interface Waiting<Answer> {
  resolve(reply: Reply<Answer>): void;
  reject(error: Error): void;
}

/** Zeros in memory that threads read together: a request that holds them does not copy them. */
export function sharedFloat64(length: number): Float64Array {
  return new Float64Array(new SharedArrayBuffer(length * Float64Array.BYTES_PER_ELEMENT));
}

/** Worker threads need compiled code: TypeScript sources, as in unit tests, do the work in the thread they run in. */
export function canStartThread(entry: URL): boolean {
  return existsSync(fileURLToPath(entry));
}

/**
 * Starts a thread whose entry calls {@link serveThread}.
 *
 * @param workerData handed to the entry
 */
export function startThread<Request, Answer>(entry: URL, workerData?: unknown): Thread<Request, Answer> {
  const worker = new Worker(entry, { workerData });
  const waiting: Waiting<Answer>[] = [];
  worker.on('message', (reply: Reply<Answer>) => waiting.shift()?.resolve(reply));
  let ended: Error | undefined;
  let last: Promise<unknown> = Promise.resolve();
  const end = (error: Error): void => {
    ended ??= error;
    for (const { reject } of waiting.splice(0)) reject(ended);
  };
  worker.on('error', end);
  worker.on('exit', () => end(new FxqError('E_INTERNAL', 'internal: a worker thread ended early')));
  return {
    request: async (message, moved = []) => {
      const replied = new Promise<Reply<Answer>>((resolve, reject) => {
        if (ended !== undefined) return reject(ended);
        waiting.push({ resolve, reject });
        worker.postMessage(message, moved);
      });
      last = replied;
      const reply = await replied;
      if (reply.kind === 'failed') throw new FxqError(reply.code, reply.message, reply.fix);
      return reply.answer;
    },
    close: async () => {
      // A thread that is ended inside onnxruntime takes the whole process with it.
      await Promise.allSettled([last]);
      await worker.terminate();
    },
  };
}

/** In a worker's entry: answers requests, one after the other. */
export function serveThread<Request, Answer>(answer: (request: Request) => Promise<Answer>): void {
  const port = parentPort;
  let last: Promise<unknown> = Promise.resolve();
  port?.on('message', (request: Request) => {
    last = last
      .then(() => answer(request))
      .then((value): Reply<Answer> => ({ kind: 'answered', answer: value }), failure)
      .then((reply) => port.postMessage(reply));
  });
}

function failure(error: unknown): Reply<never> {
  const known = error instanceof FxqError ? error : undefined;
  const message = error instanceof Error ? error.message : String(error);
  return { kind: 'failed', code: known?.code ?? 'E_INTERNAL', message, fix: known?.fix ?? [] };
}
