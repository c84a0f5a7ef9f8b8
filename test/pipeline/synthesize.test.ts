/** Data made from batch normalizations: closer to real data than noise, reproducible, and refused with the reason. */
import { readFileSync, readdirSync } from 'node:fs';
import { basename, join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { chooseRange, type Statistics } from '../../src/calibrate/index.js';
import { type SynthesizeSettings } from '../../src/config/index.js';
import { createContext } from '../../src/core/index.js';
import { openDataSet, type DataSpec } from '../../src/data/index.js';
import { openSession } from '../../src/engine/index.js';
import { parseFormat } from '../../src/formats/index.js';
import { feedInputs, writeModel, type Model } from '../../src/onnx/index.js';
import { calibrate, synthesize, type SynthesizeResult } from '../../src/pipeline/index.js';
import { readNpz, readNpzRecord, toFloat32 } from '../../src/tensor/index.js';
import { temporaryFolder } from '../helpers/folder.js';
import { model } from '../helpers/model.js';

const folder = temporaryFolder();
const at = (name: string): string => join(folder, name);
const CNN = 'fixtures/fashion-cnn/cnn.onnx';

const settings = (changes: Partial<SynthesizeSettings>): SynthesizeSettings => ({
  model: at('model.onnx'),
  out: at('made.npz'),
  samples: 32,
  batch: 32,
  steps: 60,
  rate: 0.2,
  inputs: {},
  ...changes,
});

describe('a trained network', () => {
  /** Mean over values of |width / real width − 1|, ranges of all but a thousandth of the elements. */
  const distance = (real: Statistics, other: Statistics): number => {
    const format = parseFormat('uint8');
    const width = (of: Statistics, name: string): number => {
      const tensor = of.tensors.get(name);
      if (tensor === undefined) throw new Error(name);
      const { low, high } = chooseRange(
        tensor,
        { method: 'percentile', percentile: 99.9 },
        { format, symmetric: false },
      );
      return high - low;
    };
    const names = [...real.tensors.keys()].filter((name) => name !== 'input');
    const each = names.map((name) => Math.abs(width(other, name) / width(real, name) - 1));
    return each.reduce((sum, d) => sum + d, 0) / each.length;
  };
  const observe = (data: DataSpec): Promise<Statistics> =>
    calibrate({ model: CNN, data, out: at('x.fxq') }, createContext({ threads: 1 }));
  const real: DataSpec = {
    path: 'fixtures/fashion-mnist/calibration.npz',
    preprocess: { scale: 1 / 255, mean: 0.286, std: 0.353 },
  };
  let result: SynthesizeResult;

  beforeAll(async () => {
    result = await synthesize(settings({ model: CNN, out: at('cnn.npz'), steps: 100 }), createContext());
  });

  it('gets statistics like those it has stored', () => {
    const [loss] = result.losses;
    expect(result.layers).toBe(16);
    expect(loss?.start).toBeGreaterThan(0.2);
    expect(loss?.end).toBeLessThan(0.04);
  });

  it('has ranges close to those on real data, where noise has not', async () => {
    const [truth, made, noise] = [
      await observe({ ...real, rows: [0, 64] }),
      await observe({ path: at('cnn.npz') }),
      await observe({ kind: 'random', samples: 32 }),
    ];
    expect(made.synthetic).toBe(true);
    expect(distance(truth, made)).toBeLessThan(0.15);
    expect(distance(truth, noise)).toBeGreaterThan(0.2);
  });
});

/** A convolution whose normalization remembers inputs of mean 3 and deviation 2. */
const SMALL = model`
  opset 17
  (float32[N,2,H,W] x) => (float32[N,4,?,?] y) {
    w: float32[4,2,1,1] = {1, 0, 0, 1, 0.6, 0.8, -0.8, 0.6}
    s: float32[4] = full(value=1)
    b: float32[4] = full(value=0)
    m: float32[4] = {3, 3, 4.2, -0.6}
    v: float32[4] = full(value=4)
    c = [conv] Conv(x, w)
    n = [norm] BatchNormalization(c, s, b, m, v)
    y = Relu(n)
  }`;

async function make(net: Model, changes: Partial<SynthesizeSettings> = {}, threads = 1, seed = 3) {
  writeModel(net, at('model.onnx'));
  const ctx = createContext({ threads, seed });
  const result = await synthesize(settings(changes), ctx);
  const bytes = readFileSync(at('made.npz'));
  return { result, ctx, bytes, arrays: readNpz(bytes, 'made.npz') };
}

describe('a small network', () => {
  const sizes = { x: { sizes: [6, 5] } };

  it('remembers its inputs', async () => {
    const { arrays, result } = await make(SMALL, { inputs: sizes, steps: 200, samples: 40, batch: 16 });
    const x = arrays.get('x');
    expect(x?.dims).toEqual([40, 2, 6, 5]);
    // 40 samples in three batches of 14, two of which are left out.
    expect([result.batch, result.losses.length]).toEqual([14, 3]);
    const values = toFloat32(x as NonNullable<typeof x>);
    const mean = values.reduce((sum, v) => sum + v, 0) / values.length;
    const deviation = Math.sqrt(values.reduce((sum, v) => sum + (v - mean) ** 2, 0) / values.length);
    expect(mean).toBeCloseTo(3, 1);
    expect(deviation).toBeCloseTo(2, 1);
  });

  it('gives the same bytes whatever the threads, and others for another seed', async () => {
    const [one, two] = [await make(SMALL, { inputs: sizes }), await make(SMALL, { inputs: sizes }, 2)];
    expect(two.bytes.equals(one.bytes)).toBe(true);
    const { arrays } = await make(SMALL, { inputs: sizes }, 1, 4);
    expect(arrays.get('x')).not.toEqual(one.arrays.get('x'));
    const record = readNpzRecord(one.bytes, 'made.npz') as { synthetic: { seed: number } };
    expect(record.synthetic).toMatchObject({ seed: 3, samples: 32, layers: 1 });
  });

  it('makes data that no preprocessing may change', async () => {
    await make(SMALL, { inputs: sizes, steps: 1 });
    const open = (preprocess: DataSpec['preprocess']) =>
      openDataSet(
        { path: at('made.npz'), ...(preprocess === undefined ? {} : { preprocess }) },
        feedInputs(SMALL.graph),
        createContext(),
      );
    expect([(await open(undefined)).synthetic, (await open('raw')).synthetic]).toEqual([true, true]);
    await expect(open({ mean: 1 })).rejects.toThrow(/made\.npz:x was made by fxq synthesize/);
  });

  it('keeps an input that is known where it is', async () => {
    const idle = model`
      opset 17
      (float32[N,2,4,4] x) => (float32[N,2,4,4] y) {
        s: float32[2] = full(value=1)
        b: float32[2] = full(value=0)
        m: float32[2] = full(value=0)
        v: float32[2] = full(value=0)
        z: float32 = {0}
        c = Mul(x, z)
        y = BatchNormalization(c, s, b, m, v)
      }`;
    const { arrays, result } = await make(idle, { known: { mean: 100, std: 20 }, steps: 100 });
    const values = toFloat32(arrays.get('x') as never);
    const mean = values.reduce((sum, v) => sum + v, 0) / values.length;
    expect(mean).toBeCloseTo(100, 1);
    expect(result.inputs.x?.scale).toBe(20);
  });

  it('makes several inputs and holds others at a number', async () => {
    const several = model`
      opset 17
      (float32[N,2,4,4] a, float32[N,2,4,4] b, int64[N] k, float32[N,3] late) => (float32[N,2,4,4] y, float32[N,3] z) {
        s: float32[2] = full(value=1)
        o: float32[2] = full(value=0)
        m: float32[2] = {5, -5}
        v: float32[2] = full(value=9)
        e: int64[3] = {1, 2, 3}
        p = Add(a, b)
        f = Cast<to=1>(k)
        g = Unsqueeze(f, e)
        q = Mul(p, g)
        y = BatchNormalization(q, s, o, m, v)
        z = Relu(late)
      }`;
    const { arrays, ctx } = await make(several, { inputs: { k: { value: 2 } }, steps: 200 });
    expect([...arrays.keys()]).toEqual(['a', 'b', 'late']);
    expect(ctx.notes.map((n) => n.message)).toEqual([
      "no BatchNormalization depends on input 'late': its array is noise",
    ]);
    const session = await openSession(several, { threads: 1 });
    const k = { dtype: 'int64', dims: [32], data: new BigInt64Array(32).fill(2n) } as const;
    const y = toFloat32((await session.run({ ...Object.fromEntries(arrays), k })).get('y') as never);
    await session.release();
    const mean = y.reduce((sum, v) => sum + v, 0) / y.length;
    expect(Math.abs(mean)).toBeLessThan(0.1);
  });

  it('leaves nothing behind when interrupted', async () => {
    writeModel(SMALL, at('model.onnx'));
    const abort = new AbortController();
    const ctx = createContext({
      threads: 1,
      signal: abort.signal,
      start: () => ({ update: () => abort.abort(), finish: () => undefined }),
    });
    const out = at('interrupted.npz');
    await expect(synthesize(settings({ inputs: sizes, out }), ctx)).rejects.toThrow('interrupted');
    expect(readdirSync(folder).filter((name) => name.includes(basename(out)))).toEqual([]);
  });
});

const batchNorm = (attributes: string): Model => model`
  opset 17
  (float32[N,2,4,4] x) => (float32[N,2,4,4] y) {
    s: float32[2] = full(value=1)
    b: float32[2] = full(value=0)
    m: float32[2] = full(value=0)
    v: float32[2] = full(value=1)
    t = [turn] ${attributes}(x)
    y = BatchNormalization(t, s, b, m, v)
  }`;

it.each<[string, Model, Partial<SynthesizeSettings>, RegExp]>([
  [
    'a model without normalizations',
    model`opset 17
      (float32[N,2] x) => (float32[N,2] y) { y = Relu(x) }`,
    {},
    /model\.onnx has no BatchNormalization with stored statistics/,
  ],
  [
    'an operator without gradient',
    batchNorm('Atanh'),
    {},
    /no gradient rule for operator Atanh of node Atanh 'turn'/,
  ],
  [
    'an integer input',
    model`opset 17
      (float32[N,2,4,4] x, int32[N] kind) => (float32[N,2,4,4] y, int32[N] z) {
        s: float32[2] = full(value=1)
        b: float32[2] = full(value=0)
        m: float32[2] = full(value=0)
        v: float32[2] = full(value=1)
        y = BatchNormalization(x, s, b, m, v)
        z = Identity(kind)
      }`,
    {},
    /input 'kind' cannot be made: it is int32/,
  ],
  [
    'an input that it does not have',
    SMALL,
    { inputs: { y: { value: 1 } } },
    /describes input 'y', which the model does not/,
  ],
  ['unknown sizes', SMALL, {}, /input 'x' is float32\[N,2,H,W\]; its unknown sizes are needed/],
  [
    'too large steps',
    SMALL,
    { inputs: { x: { sizes: [4, 4] } }, rate: 1e30 },
    /the inputs diverged: their loss is \w+ at step \d+/,
  ],
  [
    'an input that follows from another',
    batchNorm('Relu'),
    { inputs: { x: { derive: 'ones(x)' } } },
    /input 'x' cannot be made: it is filled by ones\(x\)/,
  ],
])('refuses %s', async (_, net, changes, message) => {
  await expect(make(net, changes)).rejects.toThrow(message);
});

it('says where training mode leaves the statistics unused', async () => {
  const training = model`
    opset 17
    (float32[N,2,4,4] x) => (float32[N,2,4,4] y) {
      s: float32[2] = full(value=1)
      b: float32[2] = full(value=0)
      m: float32[2] = full(value=0)
      v: float32[2] = full(value=1)
      y, m1, v1 = [norm] BatchNormalization<training_mode=1>(x, s, b, m, v)
    }`;
  await expect(make(training)).rejects.toThrow(/'norm'.* is in training mode/);
});

it('warns where most normalizations were folded', async () => {
  const folded = model`
    opset 17
    (float32[N,2,4,4] x) => (float32[N,2,4,4] y) {
      w: float32[2,2,1,1] = random()
      s: float32[2] = full(value=1)
      b: float32[2] = full(value=0)
      m: float32[2] = full(value=0)
      v: float32[2] = full(value=1)
      n = BatchNormalization(x, s, b, m, v)
      c1 = Conv(n, w)
      c2 = Conv(c1, w)
      y = Conv(c2, w)
    }`;
  const { ctx } = await make(folded, { steps: 1 });
  expect(ctx.notes.map((n) => n.message)).toEqual([
    expect.stringContaining('3 convolutions and 1 BatchNormalization'),
  ]);
});

it('warns of batches whose statistics are those of single samples', async () => {
  const { ctx } = await make(batchNorm('Relu'), { samples: 4, batch: 2, steps: 1 });
  expect(ctx.notes.map((n) => n.code)).toEqual(['synthesize-few-samples']);
});
