/** One pass over data: against what the runtime hands out whole, whatever the batches, shards and threads. */
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { createContext, createRng } from '../../src/core/index.js';
import {
  addElements,
  addExtremes,
  collect,
  emptySketch,
  encodeStatistics,
  hashModel,
  mergeStatistics,
  type CollectOptions,
  type Statistics,
  type TensorStatistics,
} from '../../src/calibrate/index.js';
import { chooseBatch, cutBlocks, shardBlocks } from '../../src/calibrate/blocks.js';
import { lattice } from '../../src/calibrate/taps.js';
import { type DataSet, type DataSpec } from '../../src/data/index.js';
import { createRunner, openSession, withOutputs } from '../../src/engine/index.js';
import { type Model } from '../../src/onnx/index.js';
import { tensor, toFloat32, type Tensor } from '../../src/tensor/index.js';
import { open, saveNpy, saveNpz } from '../data/helpers.js';
import { temporaryFolder } from '../helpers/folder.js';
import { model, parseText } from '../helpers/model.js';

const folder = temporaryFolder();

function noise(dims: readonly number[], seed = 1): Tensor {
  const rng = createRng(seed);
  const length = dims.reduce((a, b) => a * b, 1);
  return tensor(
    'float32',
    dims,
    Float32Array.from({ length }, () => rng.normal()),
  );
}

const cnn = parseText(`opset 17 (float32[N,3,20,16] x) => (float32[N,5] y) {
  w: float32[6,3,3,3] = random(scale=0.2)
  w2: float32[8,6,3,3] = random(scale=0.2)
  w3: float32[8,5] = random(scale=0.3)
  c = Conv<pads=[1, 1, 1, 1]>(x, w)
  r = Relu(c)
  d = Conv<pads=[1, 1, 1, 1]>(r, w2)
  e = Relu(d)
  g = GlobalAveragePool(e)
  f = Flatten(g)
  y = MatMul(f, w3)
}`);
const images = saveNpy(folder, 'images.npy', noise([40, 3, 20, 16]));
const cnnValues = ['x', 'r', 'd', 'e', 'g', 'y'];

async function calibrate(
  target: Model,
  spec: DataSpec,
  names: readonly string[],
  options: CollectOptions = {},
  threads = 1,
): Promise<Statistics> {
  const ctx = createContext({ threads });
  return collect(target, await open(spec, target, ctx), names, ctx, options);
}

/** What a value's statistics should be when every element counts: from the value itself, one sample a run. */
async function golden(target: Model, data: DataSet, name: string): Promise<TensorStatistics> {
  const session = await openSession(withOutputs(target, [name]), { threads: 1 });
  const runner = createRunner(session, data.carry);
  const sketch = emptySketch(name);
  for await (const { inputs } of data.batches(1)) {
    const elements = toFloat32((await runner.run(inputs, [name])).get(name)!);
    addElements(sketch, elements);
    addExtremes(sketch, 'min', elements, 1);
    addExtremes(sketch, 'max', elements, 1);
  }
  await session.release();
  return sketch;
}

it('does not run a model of which it is to see nothing', async () => {
  const { tensors, samples } = await calibrate(cnn, { path: images }, []);
  expect([tensors.size, samples]).toEqual([0, 40]);
});

describe('statistics', () => {
  it('count every element when asked to', async () => {
    const data = await open({ path: images }, cnn);
    const found = await calibrate(cnn, { path: images }, cnnValues, { elements: Infinity });
    expect([...found.tensors.keys()]).toEqual([...cnnValues].sort());
    for (const name of cnnValues) {
      const { channels: _, ...sketch } = found.tensors.get(name)!;
      expect(sketch).toEqual(await golden(cnn, data, name));
    }
  });

  it('otherwise count a part of large values, and keep their extremes exact', async () => {
    const found = await calibrate(cnn, { path: images }, cnnValues, { elements: 40 * 100 });
    const data = await open({ path: images }, cnn);
    for (const name of ['x', 'd', 'y']) {
      const whole = await golden(cnn, data, name);
      const part = found.tensors.get(name)!;
      expect([part.min, part.max]).toEqual([whole.min, whole.max]);
      expect(part.sampleMin).toEqual(whole.sampleMin);
      expect(part.sampleMax).toEqual(whole.sampleMax);
      if (name === 'y') expect(part.count).toBe(whole.count);
      else expect(part.count).toBeLessThan(whole.count / 8);
    }
    // A ReLU's minimum is that of the elements taken: zero, as everybody knows.
    expect(found.tensors.get('e')!.min).toBe(0);
  });

  it('have the extremes of every channel, of values whole or in part', async () => {
    const all = await calibrate(cnn, { path: images }, ['d', 'g', 'y'], { elements: Infinity });
    const some = await calibrate(cnn, { path: images }, ['d', 'g', 'y'], { elements: 4000 });
    for (const [name, axis, size] of [
      ['d', 1, 8],
      ['g', 1, 8],
      ['y', 1, 5],
    ] as const) {
      expect(some.tensors.get(name)?.channels).toEqual(all.tensors.get(name)?.channels);
      expect(all.tensors.get(name)?.channels).toMatchObject({ axis, min: { length: size } });
    }
    const { channels, min, max } = all.tensors.get('d')!;
    expect([Math.min(...channels!.min), Math.max(...channels!.max)]).toEqual([min, max]);
  });

  it('belong to a model and to data', async () => {
    const found = await calibrate(cnn, { path: images }, ['y']);
    expect(found).toMatchObject({ samples: 40, synthetic: false, modelHash: hashModel(cnn) });
    expect(found.dataHash).toBe((await open({ path: images }, cnn)).hash());
    const other = parseText(`opset 17 (float32[N,3,20,16] x) => (float32[N,3,20,16] y) { y = Relu(x) }`);
    expect(hashModel(other)).not.toBe(hashModel(cnn));
    expect((await calibrate(cnn, { kind: 'random', samples: 2 }, ['y'])).synthetic).toBe(true);
  });
});

describe('the same bytes', () => {
  it('come from one run, from merged shards, and from any number of threads', async () => {
    const run = async (options: CollectOptions, threads: number): Promise<Statistics> =>
      calibrate(cnn, { path: images }, cnnValues, { ...options, elements: 4000 }, threads);
    const whole = encodeStatistics(await run({}, 1));
    expect(encodeStatistics(await run({}, 2))).toEqual(whole);
    const shards: Statistics[] = [];
    for (const index of [2, 0, 3, 1]) shards.push(await run({ shard: { index, count: 4 } }, 1));
    expect(shards.map((s) => s.samples).reduce((a, b) => a + b)).toBe(40);
    expect(encodeStatistics(mergeStatistics(shards))).toEqual(whole);
    expect(encodeStatistics(mergeStatistics(shards.slice(1)))).not.toEqual(whole);
  });

  it('do not depend on the batch the data would come in', async () => {
    const data = await open({ path: images }, cnn);
    const single: DataSet = { ...data, batchSize: () => 1 };
    const ctx = createContext({ threads: 1 });
    const [one, many] = [
      await collect(cnn, single, ['d', 'y'], ctx),
      await collect(cnn, data, ['d', 'y'], ctx),
    ];
    expect(encodeStatistics(one)).toEqual(encodeStatistics(many));
  });
});

describe('models of other kinds', () => {
  const rows = saveNpy(folder, 'rows.npy', noise([12, 2, 16, 10], 5));

  /** Whether statistics of a value are those of the value itself. */
  async function expectGolden(target: Model, spec: DataSpec, name: string): Promise<void> {
    const found = await calibrate(target, spec, [name], { elements: Infinity });
    const { channels: _, ...sketch } = found.tensors.get(name)!;
    expect(sketch).toEqual(await golden(target, await open(spec, target), name));
  }

  it.each([9, 10, 12, 13, 17, 18, 20])('opset %d', async (opset) => {
    const target = parseText(
      `opset ${opset} (float32[N,2,16,10] x) => (float32[N,2,16,10] y) { y = Neg(x) }`,
    );
    await expectGolden(target, { path: rows }, 'y');
    const part = await calibrate(target, { path: rows }, ['y'], { elements: 12 * 40 });
    const whole = await golden(target, await open({ path: rows }, target), 'y');
    expect(part.tensors.get('y')).toMatchObject({ min: whole.min, max: whole.max });
  });

  it.each([1, 4])('a fixed batch of %d', async (batch) => {
    const shape = `float32[${batch},2,16,10]`;
    const target = parseText(`opset 17 (${shape} x) => (${shape} y) { y = Neg(x) }`);
    const found = await calibrate(target, { path: rows }, ['y'], { elements: Infinity });
    expect(found.samples).toBe(12);
    expect(found.tensors.get('y')!.count).toBe(12 * 320);
  });

  it('values whose first axis is not samples', async () => {
    const target = model`opset 17 (float32[N,2,16,10] x) => (float32[16,N,2,10] y, float32[1,2,16,10] z) {
      y = Transpose<perm=[2, 0, 1, 3]>(x)
      z = ReduceMax<axes=[0]>(x)
    }`;
    await expectGolden(target, { path: rows }, 'y');
    await expectGolden(target, { path: rows }, 'z');
  });

  it('values with several rows a sample on the first axis', async () => {
    const target = model`opset 17 (float32[N,2,16,10] x) => (float32[M,16,10] y) {
      s: int64[3] = {-1, 16, 10}
      y = Reshape(x, s)
    }`;
    await expectGolden(target, { path: rows }, 'y');
    const part = await calibrate(target, { path: rows }, ['y'], { elements: 12 * 40 });
    const whole = await golden(target, await open({ path: rows }, target), 'y');
    expect(part.tensors.get('y')).toMatchObject({ min: whole.min, sampleMax: whole.sampleMax });
  });

  it('values whose shape depends on the data', async () => {
    const target = model`opset 17 (float32[N,2,16,10] x) => (float32[M] y) {
      zero: float32 = {0}
      positive = Greater(x, zero)
      y = Compress(x, positive)
    }`;
    await expectGolden(target, { path: rows }, 'y');
  });

  it('half precision', async () => {
    const target = model`opset 17 (float32[N,2,16,10] x) => (float16[N,2,16,10] y) { y = Cast<to=10>(x) }`;
    await expectGolden(target, { path: rows }, 'y');
  });

  it('recurrent ones, in order', async () => {
    const target = model`opset 17 (float32[1,4] x, float32[1,4] state) => (float32[1,4] next) { next = Add(x, state) }`;
    const path = saveNpy(folder, 'steps.npy', tensor('float32', [6, 4], new Array<number>(24).fill(1)));
    const spec = { path, inputs: { state: { recurrent: 'next' } }, sequence: 3 };
    const found = await calibrate(target, spec, ['next'], {}, 2);
    expect(found.tensors.get('next')).toMatchObject({ min: 1, max: 3, count: 24 });
    const parts = [0, 1].map((index) => calibrate(target, spec, ['next'], { shard: { index, count: 2 } }));
    expect(encodeStatistics(mergeStatistics(await Promise.all(parts)))).toEqual(encodeStatistics(found));
  });

  it('samples of different shapes, where channels are fixed', async () => {
    const target = model`opset 17 (float32[N,2,T] x) => (float32[N,4,T] y) {
      w: float32[4,2,1] = random()
      y = Conv(x, w)
    }`;
    const path = join(folder, 'varying');
    mkdirSync(path);
    for (const length of [5, 50, 7]) saveNpz(path, `${length}.npz`, { x: noise([2, length], length) });
    await expectGolden(target, { path }, 'y');
    const part = await calibrate(target, { path }, ['y'], { elements: 60 });
    expect(part.tensors.get('y')!.channels).toMatchObject({ axis: 1, min: { length: 4 } });
  });
});

describe('what cannot be calibrated', () => {
  it.each([
    ['a value the model does not have', 'rr', /no value 'rr'/],
    ['integers', 'shape', /'shape' holds int64/],
  ])('%s', async (_, name, message) => {
    const target = model`opset 17 (float32[N,2] x) => (int64[2] shape, float32[N,2] r) {
      shape = Shape(x)
      r = Relu(x)
    }`;
    const path = saveNpy(folder, 'pairs.npy', noise([4, 2]));
    await expect(calibrate(target, { path }, [name])).rejects.toThrow(message);
  });

  it('NaN inside the model is pointed out', async () => {
    const target = model`opset 17 (float32[N,2] x) => (float32[N,2] y) { y = Sqrt(x) }`;
    const ctx = createContext({ threads: 1 });
    const path = saveNpy(folder, 'roots.npy', noise([4, 2]));
    const found = await collect(target, await open({ path }, target), ['y'], ctx);
    expect(found.tensors.get('y')!.nan).toBeGreaterThan(0);
    expect(ctx.notes.map((n) => n.message)).toEqual([expect.stringMatching(/value 'y' holds NaN/)]);
  });

  it('more shards than there is data', async () => {
    await expect(calibrate(cnn, { path: images }, ['y'], { shard: { index: 0, count: 50 } })).rejects.toThrow(
      /falls into \d+ parts, so it cannot be divided into 50 shards/,
    );
  });
});

describe('blocks', () => {
  it('cover everything once, and leave no sample alone', () => {
    for (const [samples, size] of [
      [10, 3],
      [9, 4],
      [5, 5],
      [3, 8],
      [7, 1],
    ] as const) {
      const blocks = cutBlocks(samples, size);
      const covered = blocks.flatMap(({ from, to }) => Array.from({ length: to - from }, (_, i) => from + i));
      expect(covered).toEqual(Array.from({ length: samples }, (_, i) => i));
      if (size > 1) expect(blocks.every(({ from, to }) => to - from > 1)).toBe(true);
    }
  });

  it('are shared out evenly', () => {
    const blocks = cutBlocks(100, 7);
    const shards = [0, 1, 2, 3].map((index) => shardBlocks(blocks, { index, count: 4 }));
    expect(shards.flat()).toEqual(blocks);
    expect(shards.map((s) => s.length)).toEqual([3, 4, 4, 4]);
  });

  it('hold few large samples or many small ones', () => {
    expect(chooseBatch(16 * 64 * 64, 1000)).toBe(4);
    expect(chooseBatch(3 * 32 * 32, 1000)).toBe(32);
    expect(chooseBatch(10, 20)).toBe(1);
  });
});

describe('the lattice', () => {
  it('keeps every channel and takes odd steps along the others', () => {
    const steps = lattice({ dims: [1, 16, 64, 64], batched: true, channelAxis: 1 }, 512);
    expect(steps.map((s) => s.axis).sort()).toEqual([2, 3]);
    expect(steps.every((s) => s.step % 2 === 1)).toBe(true);
    const taken = 16 * Math.ceil(64 / steps[0]!.step) * Math.ceil(64 / steps[1]!.step);
    expect(taken).toBeGreaterThan(150);
    expect(taken).toBeLessThan(1100);
  });

  it('takes small values whole', () => {
    expect(lattice({ dims: [1, 16, 4, 4], batched: true, channelAxis: 1 }, 512)).toEqual([]);
  });

  it('finds the distribution, to sampling error', async () => {
    const path = saveNpy(folder, 'many.npy', noise([64, 4, 40, 40], 11));
    const target = model`opset 17 (float32[N,4,40,40] x) => (float32[N,4,40,40] y) { y = Neg(x) }`;
    const all = (await calibrate(target, { path }, ['y'], { elements: Infinity })).tensors.get('y')!;
    const some = (await calibrate(target, { path }, ['y'], { elements: 20_000 })).tensors.get('y')!;
    expect(some.count).toBeLessThan(all.count / 10);
    const cumulative = (s: TensorStatistics): number[] => {
      let sum = 0;
      return Array.from(s.histogram, (n) => (sum += n / s.count));
    };
    const [a, b] = [cumulative(all), cumulative(some)];
    // Kolmogorov–Smirnov: 1.63/√n is exceeded by chance once in a hundred.
    const worst = Math.max(...a.map((x, i) => Math.abs(x - b[i]!)));
    expect(worst).toBeLessThan(1.63 / Math.sqrt(some.count));
  });
});
