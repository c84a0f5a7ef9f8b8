/** Which array fills which model input. */
import { existsSync, statSync } from 'node:fs';
import { dirname, isAbsolute, join } from 'node:path';
import { FxqError, didYouMean, type Context } from '../core/index.js';
import { type ModelInput } from './inputs.js';
import { npyArray, sampleFileArrays } from './numpy-arrays.js';
import { openSource } from './open-source.js';
import { resolvePreprocess, type Preprocess } from './preprocess.js';
import { type SourceArray } from './source.js';
import { type DataSpec, type InputSpec } from './spec.js';

/** An input with the array that fills it. */
export interface BoundInput {
  readonly input: ModelInput;
  readonly array: SourceArray;
  readonly preprocess: Preprocess | undefined;
}

/**
 * Finds an array for every input: its own file, the array it names, the one with its name, or the only one.
 *
 * @param inputs inputs that an array must fill
 * @throws FxqError E_DATA for an input without array, an array without input, or arrays of different lengths
 */
export async function bindInputs(
  spec: DataSpec,
  inputs: readonly ModelInput[],
  ctx: Context,
): Promise<BoundInput[]> {
  const specOf = (input: ModelInput): InputSpec => spec.inputs?.[input.name] ?? {};
  const open = inputs.filter((i) => specOf(i).file === undefined);
  const source = open.length === 0 ? [] : await openSource(spec, open, ctx);
  const arrays = source.filter((a) => !(spec.ignore ?? []).includes(a.name));
  const bound = inputs.map((input): BoundInput => {
    const { file, array: name, preprocess } = specOf(input);
    const array =
      file !== undefined
        ? openFile(spec, file)
        : name === undefined && open.length === 1 && arrays.length === 1
          ? arrays[0]
          : arrays.find((a) => a.name === (name ?? input.name));
    if (array === undefined) throw missingArray(input, name, arrays, spec);
    const given =
      preprocess ?? (inputs.length === 1 ? spec.preprocess : undefined) ?? (array.image ? {} : undefined);
    if (array.synthesized === true && given !== undefined && given !== 'raw')
      throw isAsTheModelTakesIt(array);
    const expected = { input: input.name, dims: input.sampleDims };
    return { input, array, preprocess: given && resolvePreprocess(given, expected, array) };
  });
  refuseExtra(arrays, bound, spec);
  refuseUnequal(bound, spec);
  return bound;
}

function isAsTheModelTakesIt({ label }: SourceArray): FxqError {
  return new FxqError(
    'E_CONFIG',
    `${label} was made by fxq synthesize and holds what the model takes; preprocessing would change it`,
    'Leave preprocessing out, or say --preprocess raw where the configuration has some.',
  );
}

/** A file, or a folder with a file a sample, named by an input. */
function openFile(spec: DataSpec, file: string): SourceArray {
  const base = spec.path ?? '.';
  const folder = existsSync(base) && statSync(base).isDirectory() ? base : dirname(base);
  const path = isAbsolute(file) ? file : join(folder, file);
  if (!existsSync(path) || !statSync(path).isDirectory()) return npyArray(path);
  const [array] = sampleFileArrays(path);
  if (array !== undefined) return array;
  throw new FxqError('E_DATA', `${path} holds no .npy files`, 'Give a folder with one .npy file a sample.');
}

function missingArray(
  input: ModelInput,
  wanted: string | undefined,
  arrays: readonly SourceArray[],
  spec: DataSpec,
): FxqError {
  const names = arrays.map((a) => a.name);
  const what =
    wanted === undefined ? `no array for input '${input.name}' (${input.shape})` : `no array '${wanted}'`;
  return new FxqError(
    'E_DATA',
    `${spec.path ?? 'the data'} has ${what}; it has ${names.join(', ') || 'none'}`,
    [
      ...[didYouMean(wanted ?? input.name, names)].filter((s) => s !== ''),
      `Name the array after the input, or say how it is filled: inputs.${input.name}: {array | file | value | derive | recurrent}.`,
    ],
  );
}

function refuseExtra(arrays: readonly SourceArray[], bound: readonly BoundInput[], spec: DataSpec): void {
  const taken = new Set(bound.map((b) => b.array));
  const extra = arrays.filter((a) => !taken.has(a)).map((a) => a.name);
  if (extra.length === 0) return;
  throw new FxqError(
    'E_DATA',
    `${spec.path ?? 'the data'} has arrays that no model input takes: ${extra.join(', ')}`,
    [
      `The inputs are ${bound.map((b) => b.input.name).join(', ')}.`,
      'List arrays that are not for the model under ignore.',
    ],
  );
}

/** All arrays must have as many samples. */
function refuseUnequal(bound: readonly BoundInput[], spec: DataSpec): void {
  if (new Set(bound.map((b) => b.array.count)).size < 2) return;
  const list = bound.map(({ input, array }) => `${input.name} ${array.count}`).join(', ');
  throw new FxqError(
    'E_DATA',
    `the arrays of ${spec.path ?? 'the data'} have different numbers of samples: ${list}`,
    'Give every array the same number of rows on its first axis.',
  );
}
