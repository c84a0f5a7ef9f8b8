/** Worker threads of the built program: the same statistics, and errors that find their way back. */
import { expect, it } from 'vitest';
import { createContext, createRng } from '../../src/core/index.js';
import type * as Calibrate from '../../src/calibrate/index.js';
import { tensor } from '../../src/tensor/index.js';
import { open, saveNpy } from '../data/helpers.js';
import { temporaryFolder } from '../helpers/folder.js';
import { parseText } from '../helpers/model.js';

// Worker threads run compiled code only; `npm test` builds it first.
const built = new URL('../../dist/calibrate/index.js', import.meta.url).href;
const { collect, encodeStatistics } = (await import(built)) as typeof Calibrate;

const cnn = parseText(`opset 17 (float32[N,3,20,16] x) => (float32[N,8,20,16] y) {
  w: float32[8,3,3,3] = random(scale=0.2)
  c = Conv<pads=[1, 1, 1, 1]>(x, w)
  y = Relu(c)
}`);
const rng = createRng(2);
const folder = temporaryFolder();
const values = Float32Array.from({ length: 50 * 960 }, () => rng.normal());
const path = saveNpy(folder, 'x.npy', tensor('float32', [50, 3, 20, 16], values));

it('one, two and three threads give the same bytes', async () => {
  const runs = [1, 2, 3].map(async (threads) => {
    const ctx = createContext({ threads });
    return encodeStatistics(await collect(cnn, await open({ path }, cnn, ctx), ['c', 'y'], ctx));
  });
  const [one, ...more] = await Promise.all(runs);
  for (const bytes of more) expect(bytes).toEqual(one);
});

it('bad data end the run, workers and all', async () => {
  const spoiled = values.slice();
  spoiled[40 * 960 + 5] = NaN;
  const bad = saveNpy(folder, 'bad.npy', tensor('float32', [50, 3, 20, 16], spoiled));
  const ctx = createContext({ threads: 3 });
  await expect(collect(cnn, await open({ path: bad }, cnn, ctx), ['y'], ctx)).rejects.toThrow(
    /sample 40 of .*bad\.npy holds NaN at \[0, 0, 5\]/,
  );
});

it('what the runtime refuses in a worker is an error here', async () => {
  // The third run gets samples that the model cannot reshape; whichever thread takes it must say so.
  const picky = parseText(
    `opset 17 (float32[N,4] x, int64[M] shape) => (float32[?,?] y) { y = Reshape(x, shape) }`,
  );
  const rows = saveNpy(folder, 'rows.npy', tensor('float32', [40, 4]));
  const ctx = createContext({ threads: 2 });
  const data = await open(
    { path: rows, inputs: { shape: { value: 3, sizes: [1], sampleAxis: 'none' } } },
    picky,
    ctx,
  );
  await expect(collect(picky, data, ['y'], ctx)).rejects.toThrow(/onnxruntime cannot (run|load) the model/);
});
