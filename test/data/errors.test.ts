/** Bad data: each error names what is wrong, and where. All are the user's to repair: exit status 2. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { EXIT, type FxqError } from '../../src/core/index.js';
import { readLabels, validateDataSpec, type DataSpec } from '../../src/data/index.js';
import { type Model } from '../../src/onnx/index.js';
import { tensor, writeNpy } from '../../src/tensor/index.js';
import { temporaryFolder } from '../helpers/folder.js';
import { model } from '../helpers/model.js';
import { counting, open, readInput, saveNpy, saveNpz } from './helpers.js';

const folder = temporaryFolder();
const at = (name: string): string => join(folder, name);
const one = model`opset 17 (float32[N,3] x) => (float32[N,3] y) { y = Relu(x) }`;
const two = model`opset 17 (float32[N,3] a, float32[N,3] b) => (float32[N,3] y) { y = Add(a, b) }`;

async function failure(spec: DataSpec, target: Model = one): Promise<FxqError> {
  try {
    const data = await open(spec, target);
    for (const name of data.inputs) await readInput(data, name);
  } catch (error) {
    return error as FxqError;
  }
  throw new Error('nothing failed');
}

const good = saveNpy(folder, 'good.npy', counting('float32', [4, 3]));
saveNpy(folder, 'wide.npy', counting('float32', [4, 5]));
saveNpy(folder, 'empty.npy', tensor('float32', [0, 3]));
saveNpy(folder, 'scalar.npy', tensor('float32', [], [1]));
saveNpy(folder, 'nan.npy', tensor('float32', [2, 3], [0, 1, 2, 3, NaN, 5]));
saveNpy(folder, 'infinite.npy', tensor('float32', [2, 3], [0, 1, 2, 3, 4, -Infinity]));
writeFileSync(at('cut.npy'), writeNpy(counting('float32', [4, 3])).subarray(0, 140));
writeFileSync(at('text.npy'), 'not an array');
writeFileSync(at('text.npz'), 'not an archive');
writeFileSync(at('notes.csv'), '1,2,3');
mkdirSync(at('nothing'));
mkdirSync(at('mixed'));
saveNpy(at('mixed'), 'x.npy', counting('float32', [1, 3]));
saveNpz(at('mixed'), 'x.npz', { x: counting('float32', [3]) });
const a = counting('float32', [4, 3]);
saveNpz(folder, 'missing.npz', { a });
saveNpz(folder, 'typo.npz', { a, bb: a });
saveNpz(folder, 'extra.npz', { a, b: a, c: a });
saveNpz(folder, 'unequal.npz', { a, b: counting('float32', [5, 3]) });

describe('data that cannot be used', () => {
  it.each<[string, DataSpec, RegExp, Model?]>([
    ['a missing file', { path: at('none.npy') }, /none\.npy: no such file or folder/],
    ['another kind of file', { path: at('notes.csv') }, /notes\.csv is: it is neither \.npz nor \.npy/],
    ['an empty folder', { path: at('nothing') }, /nothing is: it is empty/],
    ['a folder of two kinds', { path: at('mixed') }, /mixed is: it could be arrays or samples/],
    ['text', { path: at('text.npy') }, /text\.npy is not a readable \.npy array/],
    ['text as archive', { path: at('text.npz') }, /text\.npz is not a readable \.npz archive/],
    ['a truncated file', { path: at('cut.npy') }, /truncated: 12 of 48 bytes for shape \[4, 3\]/],
    ['no samples', { path: at('empty.npy') }, /empty\.npy holds no samples/],
    ['a number', { path: at('scalar.npy') }, /scalar\.npy is a single number/],
    [
      'a wrong shape',
      { path: at('wide.npy') },
      /wide\.npy has shape \[samples,5\], input 'x' takes float32\[N,3\]/,
    ],
    ['NaN', { path: at('nan.npy') }, /sample 1 of .*nan\.npy holds NaN at \[1\]/],
    ['an infinity', { path: at('infinite.npy') }, /sample 1 of .*infinite\.npy holds -Infinity at \[2\]/],
    [
      'NaN, though preprocessed',
      { path: at('nan.npy'), preprocess: 'unit' },
      /sample 1 of .*nan\.npy holds NaN/,
    ],
    [
      'a missing array',
      { path: at('missing.npz') },
      /no array for input 'b' \(float32\[N,3\]\); it has a$/,
      two,
    ],
    ['a mistyped array', { path: at('typo.npz') }, /no array for input 'b'/, two],
    ['an array too many', { path: at('extra.npz') }, /arrays that no model input takes: c/, two],
    ['different lengths', { path: at('unequal.npz') }, /different numbers of samples: a 4, b 5/, two],
    ['rows beyond the end', { path: good, rows: [0, 9] }, /rows \[0, 9\] were asked for, but .* has 4/],
    [
      'an unknown input',
      { path: good, inputs: { X: {} } },
      /describes input 'X', which the model does not have/,
    ],
    [
      'channels that do not fit',
      { path: good, preprocess: { mean: [0, 0] } },
      /mean and std have 2 channels, .* have 3/,
    ],
    [
      'no image',
      { path: good, preprocess: { channels: 'BGR' } },
      /shape \[3\], which is no image stored as CHW/,
    ],
  ])('%s', async (_, spec, message, target) => {
    const error = await failure(spec, target);
    expect(error.message).toMatch(message);
    expect(error.exit).toBe(EXIT.input);
    expect(error.fix.length).toBeGreaterThan(0);
  });

  it('suggests the array that was probably meant', async () => {
    const wrong = await failure({ path: at('typo.npz'), inputs: { b: { array: 'b2' } } }, two);
    expect(wrong.fix).toContain("Did you mean 'bb' or 'a'?");
  });
});

describe('descriptions that cannot be meant', () => {
  it.each<[DataSpec, RegExp]>([
    [{}, /needs a path/],
    [{ kind: 'random', path: 'x.npy' }, /kind: random takes no path/],
    [{ path: 'x', samples: 0 }, /samples: 0/],
    [{ path: 'x', rows: [5, 5] }, /rows: \[5, 5\]/],
    [{ path: 'x', inputs: { a: { value: 1, derive: 'ones(b)' } } }, /inputs\.a has value and derive/],
    [{ path: 'x', inputs: { a: { derive: 'twice(b)' } } }, /'twice\(b\)' is none of nonzero\(input\)/],
    [{ path: 'x', preprocess: { std: 0 } }, /preprocess\.std must be positive/],
    [{ path: 'x', preprocess: { mean: [1, 2], std: [1, 2, 3] } }, /mean has 2 channels, std 3/],
    [{ path: 'x', preprocess: 'imagnet' as never }, /no preset 'imagnet'\. Did you mean 'imagenet'/],
  ])('%o', (spec, message) => {
    expect(() => validateDataSpec(spec)).toThrow(message);
  });

  it('are all reported at once', () => {
    expect(() => validateDataSpec({ samples: -1, sequence: 0 })).toThrow(/path.*samples.*sequence/);
  });
});

describe('labels', () => {
  it('belong to rows of the source', async () => {
    const data = await open({ path: good, rows: [1, 3] }, one);
    const numbers = readLabels(saveNpy(folder, 'y.npy', tensor('int64', [4], [5n, 6n, 7n, 8n])), data);
    expect(numbers).toEqual(tensor('int64', [2], [6n, 7n]));
    writeFileSync(at('y.txt'), 'eins\nzwei\ndrei\nvier\n');
    expect(readLabels(at('y.txt'), data)).toEqual(['zwei', 'drei']);
    saveNpz(folder, 'y.npz', { x: a, labels: tensor('int64', [4], [1n, 2n, 3n, 4n]) });
    expect(readLabels(at('y.npz'), data)).toEqual(tensor('int64', [2], [2n, 3n]));
  });

  it('of another length are refused, also when they fit the rows used', async () => {
    const data = await open({ path: good, rows: [1, 3] }, one);
    const path = saveNpy(folder, 'short.npy', tensor('int64', [2], [1n, 2n]));
    expect(() => readLabels(path, data)).toThrow(/short\.npy holds 2 labels, the data has 4 samples/);
  });
});
