/** Runs over a stream of batches: chosen values come out, recurrent outputs go back into the inputs of the next run. */
import { FxqError } from '../core/index.js';
import { type Tensor } from '../tensor/index.js';
import { type Session } from './session.js';

/** Samples `first` to `first + count − 1` in the form a model takes them. */
export interface Batch {
  readonly first: number;
  readonly count: number;
  /** By model input. Inputs named by the carry are left out unless the batch starts a sequence. */
  readonly inputs: ReadonlyMap<string, Tensor>;
}

/** Batches in memory, for those who run them more than once. */
export async function readAll(batches: AsyncIterable<Batch>): Promise<Batch[]> {
  const all: Batch[] = [];
  for await (const batch of batches) all.push(batch);
  return all;
}

/** Model inputs that continue an output of the run before: input name → output name. */
export type Carry = ReadonlyMap<string, string>;

export const NO_CARRY: Carry = new Map();

/** A session that remembers its recurrent state. */
export interface Runner {
  /**
   * Runs one batch; batches of a sequence must come in order.
   *
   * @throws FxqError E_DATA when a sequence does not start with a state
   */
  run(inputs: ReadonlyMap<string, Tensor>, wanted: readonly string[]): Promise<Map<string, Tensor>>;
}

/** Adds recurrent state to a session. */
export function createRunner(session: Session, carry: Carry = NO_CARRY): Runner {
  const state = new Map<string, Tensor>();
  const carried = [...new Set(carry.values())];
  return {
    async run(inputs, wanted) {
      const feeds = new Map([...state, ...inputs]);
      for (const input of carry.keys()) {
        if (!feeds.has(input))
          throw new FxqError('E_DATA', `the first sample of a sequence has no state for input '${input}'`);
      }
      const outputs = await session.run(feeds, [...new Set([...wanted, ...carried])]);
      for (const [input, output] of carry) {
        const next = outputs.get(output);
        if (next !== undefined) state.set(input, next);
      }
      return outputs;
    },
  };
}

/** The batches with the values named in `wanted`, one run each. Nothing is kept between them but the carried state. */
export async function* probe(
  session: Session,
  batches: AsyncIterable<Batch> | Iterable<Batch>,
  wanted: readonly string[],
  carry: Carry = NO_CARRY,
): AsyncGenerator<{ readonly batch: Batch; readonly outputs: ReadonlyMap<string, Tensor> }> {
  const runner = createRunner(session, carry);
  for await (const batch of batches) yield { batch, outputs: await runner.run(batch.inputs, wanted) };
}
