/** Entry of a worker thread: a session that gets its feeds as messages. */
import { workerData } from 'node:worker_threads';
import { serveThread } from '../core/index.js';
import { type SessionAnswer, type SessionJob, type SessionRequest } from './session-thread.js';
import { openSession } from './session.js';

const { model, options } = workerData as SessionJob;
const session = openSession(model, options);
// A failure is reported when the first request waits for it.
session.catch(() => undefined);

serveThread<SessionRequest, SessionAnswer>(async (request) => {
  const { inputs, outputs, run } = await session;
  const results =
    request.kind === 'run' ? await run(request.feeds, request.wanted) : new Map<string, never>();
  return { inputs, outputs, results };
});
