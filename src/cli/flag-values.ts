/** Flags as configuration values: short forms expanded, each with the name a user knows it by. */
import type { FlagValue } from '../config/index.js';
import { FxqError } from '../core/index.js';
import type { FlagKeys } from './flags.js';

/** What flags and arguments were given, by name. */
export type Given = Readonly<Record<string, unknown>>;

/** Short forms that need more than the value as it was given. */
const EXPANDED: Readonly<Record<string, (value: never, parseInput: ParseInput) => unknown>> = {
  random: (given: boolean) => (given ? 'random' : undefined),
  percentile: parseNumber,
  'max-loss': parseNumber,
  'smooth-alpha': parseNumber,
  'max-drop': parseNumber,
  accumulator: parseNumber,
  resolution: parseNumber,
  epsilon: parseNumber,
  rows: parseRows,
  'eval-rows': parseRows,
  input: parseInputs,
  sizes: parseSizes,
  'learning-rate': parseNumber,
  'input-mean': parseNumber,
  'input-std': parseNumber,
};

type ParseInput = (text: string) => unknown;

/**
 * The configuration values of the flags that were given.
 *
 * @param source name of a flag's origin: "--seed", "FXQ_SEED", "MODEL"
 * @throws FxqError E_USAGE for a short form that cannot be read
 */
export function flagValues(
  given: Given,
  keys: FlagKeys,
  source: (name: string) => string,
  parseInput: ParseInput,
): FlagValue[] {
  return Object.entries(keys).flatMap(([name, path]): FlagValue[] => {
    const raw = given[name];
    if (raw === undefined) return [];
    const expand = EXPANDED[name];
    const value = expand === undefined ? raw : expand(raw as never, parseInput);
    return value === undefined ? [] : [{ source: source(name), path, value }];
  });
}

/** A number; any other text, also an empty one, is left to the schema, which says what it expects. */
function parseNumber(text: string): number | string {
  const number = Number(text);
  return text.trim() === '' || Number.isNaN(number) ? text : number;
}

function parseRows(text: string): readonly [number, number] {
  const [, from = '', to = ''] = /^(\d+):(\d+)$/.exec(text) ?? [];
  if (to === '')
    throw new FxqError('E_USAGE', `--rows ${text} is no range`, 'Write FROM:TO, for example 512:2000.');
  return [Number(from), Number(to)];
}

function parseInputs(texts: readonly string[], parseInput: ParseInput): Record<string, unknown> {
  return Object.fromEntries(
    texts.map((text) => {
      const [, name = '', how = ''] = /^([^=]+)=(.+)$/.exec(text) ?? [];
      if (how === '')
        throw new FxqError(
          'E_USAGE',
          `--input ${text} fills no input`,
          'Write NAME=HOW, for example mask=nonzero(ids).',
        );
      return [name, parseInput(how)];
    }),
  );
}

function parseSizes(texts: readonly string[]): Record<string, unknown> {
  return Object.fromEntries(
    texts.map((text) => {
      const [, name = '', sizes = ''] = /^([^=]+)=(\d+(?:[,x]\d+)*)$/.exec(text) ?? [];
      if (sizes === '')
        throw new FxqError('E_USAGE', `--sizes ${text} gives no sizes`, [
          'Write NAME=N,N with one number for each unknown dimension, for example image=320,320.',
        ]);
      return [name, { sizes: sizes.split(/[,x]/).map(Number) }];
    }),
  );
}
