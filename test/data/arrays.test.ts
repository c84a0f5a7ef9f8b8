/** NumPy arrays as data: which array fills which input, types, shapes, rows. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { createContext } from '../../src/core/index.js';
import { tensor, writeNpy } from '../../src/tensor/index.js';
import { temporaryFolder } from '../helpers/folder.js';
import { model } from '../helpers/model.js';
import { counting, open, readInput, saveNpy, saveNpz } from './helpers.js';

const folder = temporaryFolder();
const one = model`opset 17 (float32[N,3] x) => (float32[N,3] y) { y = Relu(x) }`;
const two = model`opset 17 (float32[N,3] a, int64[N,2] b) => (float32[N,3] y, int64[N,2] z) {
  y = Relu(a)
  z = Identity(b)
}`;

describe('one array', () => {
  it('of a .npy file, whatever it is called', async () => {
    const data = await open({ path: saveNpy(folder, 'any.npy', counting('float32', [5, 3])) }, one);
    expect(data.samples).toBe(5);
    const { shapes, values } = await readInput(data, 'x');
    expect(shapes).toEqual([
      [2, 3],
      [2, 3],
      [1, 3],
    ]);
    expect(values).toEqual(Array.from({ length: 15 }, (_, i) => i));
  });

  it('can be read again and in part', async () => {
    const data = await open({ path: saveNpy(folder, 'again.npy', counting('float32', [5, 3])) }, one);
    await readInput(data, 'x');
    for await (const batch of data.batches(8, 1, 3)) {
      expect([batch.first, batch.count]).toEqual([1, 2]);
      expect([...batch.inputs.get('x')!.data]).toEqual([3, 4, 5, 6, 7, 8]);
    }
  });

  it('larger than one piece is read in pieces, in any order of rows', async () => {
    // 3000 rows of 2 KiB are about six pieces.
    const array = counting('float32', [3000, 512]);
    const wide = model`opset 17 (float32[N,512] x) => (float32[N,512] y) { y = Relu(x) }`;
    const data = await open({ path: saveNpy(folder, 'large.npy', array), samples: 40 }, wide);
    expect(data.rows).toEqual([...data.rows].sort((a, b) => a - b));
    const { values } = await readInput(data, 'x', 7);
    data.rows.forEach((row, i) => expect(values[i * 512]).toBe(row * 512));
  });

  it('in Fortran order is read in C order', async () => {
    const c = writeNpy(counting('float32', [2, 3]));
    const text = new TextDecoder('latin1')
      .decode(c)
      .replace("'fortran_order': False", "'fortran_order': True ");
    const path = join(folder, 'fortran.npy');
    writeFileSync(path, Buffer.from(text, 'latin1'));
    expect((await readInput(await open({ path }, one), 'x')).values).toEqual([0, 2, 4, 1, 3, 5]);
  });
});

describe('several arrays', () => {
  const a = counting('float32', [4, 3]);
  const b = counting('int64', [4, 2]);

  it('go to the inputs of their names: .npz', async () => {
    const data = await open({ path: saveNpz(folder, 'two.npz', { b, a }) }, two);
    expect((await readInput(data, 'a')).values).toEqual(Array.from({ length: 12 }, (_, i) => i));
    expect((await readInput(data, 'b')).values).toEqual(Array.from({ length: 8 }, (_, i) => i));
  });

  it('or where they are told to, others ignored', async () => {
    const path = saveNpz(folder, 'renamed.npz', { first: a, second: b, labels: counting('int64', [4]) });
    const spec = { path, inputs: { a: { array: 'first' }, b: { array: 'second' } }, ignore: ['labels'] };
    expect((await readInput(await open(spec, two), 'b')).values).toHaveLength(8);
  });

  it('one file each in a folder, or named files', async () => {
    const files = join(folder, 'files');
    mkdirSync(files);
    saveNpy(files, 'a.npy', a);
    saveNpy(files, 'b.npy', b);
    const byName = await open({ path: files }, two);
    const named = await open({ path: files, inputs: { a: { file: 'a.npy' }, b: { file: 'b.npy' } } }, two);
    expect(await readInput(byName, 'b')).toEqual(await readInput(named, 'b'));
    expect(byName.hash()).toBe(named.hash());
  });
});

describe('one file a sample', () => {
  const text = model`opset 17 (float32[N,T] x) => (float32[N,T] y) { y = Relu(x) }`;

  it('has shapes of its own, fed one by one in the order of the numbers in the names', async () => {
    const samples = join(folder, 'samples');
    mkdirSync(samples);
    for (const length of [2, 9, 10]) saveNpz(samples, `s${length}.npz`, { x: counting('float32', [length]) });
    const data = await open({ path: samples }, text);
    expect(data.varying).toBe(true);
    expect(data.batchSize(8)).toBe(1);
    expect((await readInput(data, 'x', 8)).shapes).toEqual([
      [1, 2],
      [1, 9],
      [1, 10],
    ]);
  });

  it('may be a folder for one input', async () => {
    const parts = join(folder, 'parts');
    mkdirSync(join(parts, 'x'), { recursive: true });
    saveNpy(join(parts, 'x'), '1.npy', counting('float32', [4]));
    saveNpy(join(parts, 'x'), '2.npy', counting('float32', [3]));
    const data = await open({ path: parts, inputs: { x: { file: 'x' } } }, text);
    expect((await readInput(data, 'x')).shapes).toEqual([
      [1, 4],
      [1, 3],
    ]);
  });
});

describe('samples are stacked', () => {
  it('where the input has its sample axis', async () => {
    const lstm = model`opset 17 (float32[2,N,3] state) => (float32[2,N,3] y) { y = Relu(state) }`;
    const path = saveNpy(folder, 'states.npy', counting('float32', [4, 2, 3]));
    const data = await open({ path, inputs: { state: { sampleAxis: 1 } } }, lstm);
    const { shapes, values } = await readInput(data, 'state');
    expect(shapes).toEqual([
      [2, 2, 3],
      [2, 2, 3],
    ]);
    expect(values.slice(0, 12)).toEqual([0, 1, 2, 6, 7, 8, 3, 4, 5, 9, 10, 11]);
  });

  it('one at a time when the model takes one, or has no sample axis', async () => {
    const path = saveNpy(folder, 'three.npy', counting('float32', [3, 3]));
    const fixed = model`opset 17 (float32[1,3] x) => (float32[1,3] y) { y = Relu(x) }`;
    expect((await readInput(await open({ path }, fixed), 'x', 8)).shapes).toEqual([
      [1, 3],
      [1, 3],
      [1, 3],
    ]);
    const bare = model`opset 17 (float32[3] x) => (float32[3] y) { y = Relu(x) }`;
    const data = await open({ path, inputs: { x: { sampleAxis: 'none' } } }, bare);
    expect((await readInput(data, 'x', 8)).shapes).toEqual([[3], [3], [3]]);
  });

  it('as many as the model fixes; a remainder is left out and noted', async () => {
    const pairs = model`opset 17 (float32[2,3] x) => (float32[2,3] y) { y = Relu(x) }`;
    const ctx = createContext();
    const data = await open({ path: saveNpy(folder, 'five.npy', counting('float32', [5, 3])) }, pairs, ctx);
    expect(data.samples).toBe(4);
    expect((await readInput(data, 'x', 8)).shapes).toEqual([
      [2, 3],
      [2, 3],
    ]);
    expect(ctx.notes.map((n) => n.code)).toEqual(['data-remainder']);
  });
});

describe('rows', () => {
  const path = saveNpy(folder, 'rows.npy', counting('float32', [100, 3]));

  it('are a range, then a seeded subset of it', async () => {
    expect((await open({ path, rows: [10, 13] }, one)).rows).toEqual([10, 11, 12]);
    const some = await open({ path, rows: [10, 90], samples: 8 }, one);
    expect(some.rows).toHaveLength(8);
    expect(some.rows.every((r) => r >= 10 && r < 90)).toBe(true);
    expect(some.sourceRows).toBe(100);
    expect((await open({ path, rows: [10, 90], samples: 8 }, one)).rows).toEqual(some.rows);
    const other = await open({ path, rows: [10, 90], samples: 8 }, one, createContext({ seed: 1 }));
    expect(other.rows).not.toEqual(some.rows);
  });

  it('split into a seeded part and the others, with the same numbers', async () => {
    const data = await open({ path, rows: [10, 90] }, one);
    const [part, others] = data.split(30);
    expect([part.samples, others.samples]).toEqual([30, 50]);
    expect([...part.rows, ...others.rows].sort((a, b) => a - b)).toEqual(data.rows);
    expect(part.rows).not.toEqual(data.rows.slice(0, 30));
    const { values } = await readInput(part, 'x');
    expect(values).toEqual(part.rows.flatMap((r) => [3 * r, 3 * r + 1, 3 * r + 2]));
    expect(part.hash()).not.toBe(data.hash());
    const again = (await open({ path, rows: [10, 90] }, one)).split(30);
    expect(again.map((d) => d.rows)).toEqual([part.rows, others.rows]);
    expect(data.split(100).map((d) => d.samples)).toEqual([80, 0]);
  });

  it('split in whole batches where the model fixes their size', async () => {
    const fixed = model`opset 17 (float32[8,3] x) => (float32[8,3] y) { y = Relu(x) }`;
    const sizes = (await open({ path, rows: [0, 40] }, fixed)).split(20).map((d) => d.samples);
    expect(sizes).toEqual([16, 24]);
    expect((await open({ path, rows: [0, 40] }, fixed)).split(3).map((d) => d.samples)).toEqual([8, 32]);
  });

  it('asked for beyond the end of the data: all are used, and it is said', async () => {
    const ctx = createContext();
    expect((await open({ path, samples: 200 }, one, ctx)).samples).toBe(100);
    expect(ctx.notes.map((n) => n.code)).toEqual(['data-fewer-samples']);
  });
});

describe('element types', () => {
  const path = (
    name: string,
    values: readonly number[],
    dtype: 'float64' | 'int64' | 'uint8' | 'float32',
  ): string => saveNpy(folder, name, tensor(dtype, [1, 3], dtype === 'int64' ? values.map(BigInt) : values));
  const ints = model`opset 17 (int32[N,3] x) => (int32[N,3] y) { y = Identity(x) }`;

  it('are converted where nothing is lost', async () => {
    expect(
      (await readInput(await open({ path: path('u8.npy', [0, 7, 255], 'uint8') }, one), 'x')).values,
    ).toEqual([0, 7, 255]);
    expect(
      (await readInput(await open({ path: path('i64.npy', [-5, 0, 70000], 'int64') }, ints), 'x')).values,
    ).toEqual([-5, 0, 70000]);
    expect(
      (await readInput(await open({ path: path('whole.npy', [1, 2, -3], 'float32') }, ints), 'x')).values,
    ).toEqual([1, 2, -3]);
  });

  it('float64 is rounded to float32, which is noted', async () => {
    const ctx = createContext();
    const data = await open({ path: path('f64.npy', [0.1, 1 / 3, 2], 'float64') }, one, ctx);
    expect((await readInput(data, 'x')).values).toEqual([0.1, 1 / 3, 2].map(Math.fround));
    expect(ctx.notes.map((n) => n.code)).toEqual(['data-rounded']);
  });

  it.each([
    [
      'an integer too large',
      [0, 1, 2 ** 40],
      'int64',
      ints,
      /1099511627776 at \[2\], which int32 cannot represent/,
    ],
    ['a fraction for an integer', [0, 1.5, 2], 'float32', ints, /1.5 at \[1\], which int32/],
    [
      'an integer float32 has no place for',
      [0, 2 ** 24 + 1, 0],
      'int64',
      one,
      /16777217 at \[1\], which float32/,
    ],
    ['a float64 beyond float32', [0, 1e39, 0], 'float64', one, /1e\+39 at \[1\], which float32/],
  ] as const)('%s is refused', async (_, values, dtype, target, message) => {
    const data = await open({ path: path('bad.npy', values, dtype) }, target);
    await expect(readInput(data, 'x')).rejects.toThrow(message);
  });
});
