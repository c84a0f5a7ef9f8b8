/** Which kind of source a path is, and its arrays. */
import { existsSync, readdirSync, statSync } from 'node:fs';
import { FxqError, type Context } from '../core/index.js';
import { imageArray, imageFiles } from './images.js';
import { type ModelInput } from './inputs.js';
import { filesIn, folderArrays, npyArray, npzArrays, sampleFileArrays } from './numpy-arrays.js';
import { randomArrays } from './random-arrays.js';
import { type SourceArray } from './source.js';
import { type DataKind, type DataSpec } from './spec.js';
import { testDataArrays, testDataFolders } from './test-data.js';

type Opener = (path: string) => SourceArray[] | Promise<SourceArray[]>;

/** How the arrays of each kind are read; `random` and `test-data` need the model's inputs as well. */
const OPENERS: Readonly<Record<Exclude<DataKind, 'random' | 'test-data'>, Opener>> = {
  npz: npzArrays,
  npy: (path) => [npyArray(path)],
  arrays: folderArrays,
  samples: sampleFileArrays,
  images: async (path) => [await imageArray(path)],
};

/**
 * Opens the source of a data set.
 *
 * @param inputs inputs that its arrays have to fill
 * @throws FxqError E_FILE for a missing path, E_DATA for one of no known or of several kinds
 */
export async function openSource(
  spec: DataSpec,
  inputs: readonly ModelInput[],
  ctx: Context,
): Promise<SourceArray[]> {
  if (spec.kind === 'random')
    return randomArrays(inputs, spec.inputs ?? {}, spec.samples, ctx.rng.fork('random'));
  const path = spec.path ?? '';
  if (!existsSync(path))
    throw new FxqError('E_FILE', `cannot read data ${path}: no such file or folder`, 'Check the path.');
  const kind = spec.kind ?? kindOf(path);
  if (kind === 'test-data') return testDataArrays(path, inputs);
  return kind === 'random' ? [] : OPENERS[kind](path);
}

/** Tells the kind of a file or folder from names alone. */
function kindOf(path: string): DataKind {
  const unclear = (why: string): FxqError =>
    new FxqError('E_DATA', `cannot tell what kind of data ${path} is: ${why}`, [
      'Give a .npz or .npy file, or a folder of .npy files, of images or of test_data_set_*.',
      'Or name the kind: npz, npy, arrays, samples, images, test-data; random needs no path.',
    ]);
  if (!statSync(path).isDirectory()) {
    if (path.endsWith('.npz')) return 'npz';
    if (path.endsWith('.npy')) return 'npy';
    throw unclear('it is neither .npz nor .npy');
  }
  const found: DataKind[] = [];
  if (testDataFolders(path).length > 0) found.push('test-data');
  if (filesIn(path, ['.npy']).length > 0) found.push('arrays');
  if (filesIn(path, ['.npz']).length > 0) found.push('samples');
  if (found.length === 0 && imageFiles(path).length > 0) found.push('images');
  const [kind] = found;
  if (kind === undefined)
    throw unclear(readdirSync(path).length === 0 ? 'it is empty' : 'it holds no files of data');
  if (found.length > 1) throw unclear(`it could be ${found.join(' or ')}`);
  return kind;
}
