/** ONNX's own test layout: folders `test_data_set_*` with `input_0.pb`, `input_1.pb` …, one folder a sample. */
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { FxqError, readInput } from '../core/index.js';
import { loadTensor, parseTensor } from '../onnx/index.js';
import { type Tensor } from '../tensor/index.js';
import { type ModelInput } from './inputs.js';
import { byName } from './numpy-arrays.js';
import { type SourceArray } from './source.js';

/** The sample folders at a path: those in it, or itself when it is one. */
export function testDataFolders(path: string): string[] {
  if (existsSync(join(path, 'input_0.pb'))) return [path];
  return readdirSync(path)
    .filter((name) => existsSync(join(path, name, 'input_0.pb')))
    .sort(byName)
    .map((name) => join(path, name));
}

/** One array an input, in the order of the model's inputs; each sample is a complete feed. */
export function testDataArrays(path: string, inputs: readonly ModelInput[]): SourceArray[] {
  const folders = testDataFolders(path);
  return inputs.map((input, i) => {
    const fileOf = (sample: number): string => join(folders[sample] ?? '', `input_${i}.pb`);
    return {
      name: input.name,
      label: join(path, `input_${i}.pb`),
      count: folders.length,
      dtype: input.dtype,
      dims: undefined,
      whole: true,
      image: false,
      labelOf: fileOf,
      read: (sample) => readTensor(fileOf(sample), input),
      bytes: (sample) => readInput(fileOf(sample), 'test data'),
    };
  });
}

function readTensor(file: string, input: ModelInput): Tensor {
  const { name, stored } = parseTensor(readInput(file, 'test data'), file);
  if (name === '' || name === input.name) return loadTensor(stored, file);
  throw new FxqError(
    'E_DATA',
    `${file} holds '${name}', but the model's input at that place is '${input.name}'`,
    'Number the files in the order of the model inputs.',
  );
}
