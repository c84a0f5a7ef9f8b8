/** Sessions in threads of their own: onnxruntime-node computes in the thread that asks, so several take several. */
import { canStartThread, startThread } from '../core/index.js';
import { type Model } from '../onnx/index.js';
import { type Tensor } from '../tensor/index.js';
import { runtimeModel, type RuntimeModel } from './runtime-model.js';
import { type Session, type SessionOptions, type SessionValue } from './session.js';

const ENTRY = new URL('./session-worker.js', import.meta.url);

export const CAN_START_SESSIONS = canStartThread(ENTRY);

/** What a worker opens. */
export interface SessionJob {
  readonly model: RuntimeModel;
  readonly options: SessionOptions;
}

export type SessionRequest =
  | { readonly kind: 'describe' }
  | {
      readonly kind: 'run';
      readonly feeds: ReadonlyMap<string, Tensor>;
      readonly wanted: readonly string[] | undefined;
    };

export interface SessionAnswer {
  readonly inputs: readonly SessionValue[];
  readonly outputs: readonly SessionValue[];
  /** Of a run. */
  readonly results: Map<string, Tensor>;
}

/**
 * Opens a session in another thread; feeds are copied to it.
 *
 * @throws FxqError E_RUNTIME with onnxruntime's own reason when it refuses the model
 */
export async function openSessionThread(model: Model, options: SessionOptions = {}): Promise<Session> {
  const job: SessionJob = { model: runtimeModel(model), options };
  const thread = startThread<SessionRequest, SessionAnswer>(ENTRY, job);
  try {
    const { inputs, outputs } = await thread.request({ kind: 'describe' });
    return {
      inputs,
      outputs,
      run: async (feeds, wanted) => {
        const entries =
          feeds instanceof Map ? (feeds as ReadonlyMap<string, Tensor>) : Object.entries(feeds as object);
        return (await thread.request({ kind: 'run', feeds: new Map(entries), wanted })).results;
      },
      release: () => thread.close(),
    };
  } catch (error) {
    await thread.close();
    throw error;
  }
}
