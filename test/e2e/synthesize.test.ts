/** The built program: batches in threads of their own give the bytes of one thread. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, expect, it } from 'vitest';
import { writeModel } from '../../src/onnx/index.js';
import { temporaryFolder } from '../helpers/folder.js';
import { model } from '../helpers/model.js';
import { fxq } from './fxq.js';

const cwd = temporaryFolder();

beforeAll(() => {
  const net = model`
    opset 17
    (float32[N,2,8,8] x) => (float32[N,4,8,8] y) {
      w: float32[4,2,3,3] = random(scale=0.3)
      s: float32[4] = full(value=1)
      b: float32[4] = full(value=0)
      m: float32[4] = {1, -1, 2, 0}
      v: float32[4] = {1, 2, 3, 4}
      c = Conv<pads=[1, 1, 1, 1]>(x, w)
      y = BatchNormalization(c, s, b, m, v)
    }`;
  writeModel(net, join(cwd, 'model.onnx'));
});

it('makes the same data in one thread and in three', async () => {
  const line = 'synthesize model.onnx --samples 40 --batch 10 --steps 30 --quiet';
  for (const threads of [1, 3]) {
    const words = [...line.split(' '), '--threads', String(threads), '--out', `${threads}.npz`];
    const { exit, stderr } = await fxq(words, { cwd });
    expect([exit, stderr]).toEqual([0, '']);
  }
  expect(readFileSync(join(cwd, '3.npz')).equals(readFileSync(join(cwd, '1.npz')))).toBe(true);
});

it('ends with the reason when a batch fails beside others', async () => {
  const line = 'synthesize model.onnx --samples 40 --batch 10 --learning-rate 1e30 --threads 3 --quiet';
  const { exit, stderr } = await fxq(line.split(' '), { cwd });
  expect([exit, stderr]).toEqual([2, expect.stringMatching(/^error: the inputs diverged/)]);
});
