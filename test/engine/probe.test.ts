/** Runs over batches, with state carried from one to the next. */
import { expect, it } from 'vitest';
import { createRunner, openSession, probe, type Batch } from '../../src/engine/index.js';
import { tensor, toNumbers } from '../../src/tensor/index.js';
import { model } from '../helpers/model.js';

const sum = model`opset 17 (float32[1] x, float32[1] state) => (float32[1] next, float32[1] twice) {
  next = Add(x, state)
  twice = Add(next, next)
}`;
const carry = new Map([['state', 'next']]);
const value = (v: number) => tensor('float32', [1], [v]);
const batch = (first: number, inputs: Record<string, ReturnType<typeof value>>): Batch => ({
  first,
  count: 1,
  inputs: new Map(Object.entries(inputs)),
});

it('hands out what is wanted, continuing the state until a batch brings its own', async () => {
  const session = await openSession(sum);
  const batches = [
    batch(0, { x: value(1), state: value(0) }),
    batch(1, { x: value(2) }),
    batch(2, { x: value(4), state: value(10) }),
    batch(3, { x: value(8) }),
  ];
  const seen: number[] = [];
  for await (const { outputs } of probe(session, batches, ['twice'], carry))
    seen.push(...toNumbers(outputs.get('twice')!));
  expect(seen).toEqual([2, 6, 28, 44]);
  await session.release();
});

it('needs a state to start with', async () => {
  const session = await openSession(sum);
  const runner = createRunner(session, carry);
  await expect(runner.run(new Map([['x', value(1)]]), ['next'])).rejects.toThrow(
    /no state for input 'state'/,
  );
  await session.release();
});
