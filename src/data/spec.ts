/** How a data set is described: plain data that a configuration file can hold. */
import { FxqError, didYouMean } from '../core/index.js';
import { PREPROCESS_PRESETS, type PreprocessPreset } from './presets.js';

/**
 * Where samples come from.
 *
 * - `npz`: an archive with one array an input, first axis samples
 * - `npy`: one array, first axis samples
 * - `arrays`: a folder with one `.npy` file an input
 * - `samples`: a folder with one `.npz` (or, for one input, `.npy`) file a sample, without sample axis; shapes may vary
 * - `images`: a folder of PNG, JPEG or WebP files, searched through, in path order
 * - `test-data`: a folder of `test_data_set_*` folders with `input_*.pb`, the layout of ONNX's own tests
 * - `random`: numbers from a seeded generator
 */
export const DATA_KINDS = ['npz', 'npy', 'arrays', 'samples', 'images', 'test-data', 'random'] as const;
export type DataKind = (typeof DATA_KINDS)[number];

export interface DataSpec {
  /** File or folder; not for `random`. */
  readonly path?: string;
  /** Told by the path when absent; `random` must be named. */
  readonly kind?: DataKind;
  /** How each model input is filled; an input left out takes the array of its name, or the only array there is. */
  readonly inputs?: Readonly<Record<string, InputSpec>>;
  /** Preprocessing of the input that is filled from an array, when there is only one. */
  readonly preprocess?: PreprocessPreset | PreprocessSpec;
  /** Size of a seeded random subset. For `random`: how many samples to make (16 by default). */
  readonly samples?: number;
  /** Samples from the first to the one before the second, taken before `samples` is drawn. */
  readonly rows?: readonly [from: number, to: number];
  /** These rows, whatever the two above say: a part of another data set (see `DataSet.split`). */
  readonly only?: readonly number[];
  /** Arrays of the source that the model does not take, such as labels. */
  readonly ignore?: readonly string[];
  /** Consecutive samples after which recurrent inputs start from zero again; never when absent. */
  readonly sequence?: number;
}

/** How one model input is filled. At most one of `array`, `file`, `value`, `derive` and `recurrent`. */
export interface InputSpec {
  /** Name of an array of the source. */
  readonly array?: string;
  /** A `.npy` file with samples on its first axis, relative to the folder of the data (or of the data file). */
  readonly file?: string;
  /** The same number for every sample: a sampling rate, say. */
  readonly value?: number;
  /** Made from another input: `nonzero(ids)`, `ones(ids)`, `zeros(ids)` or `positions(ids)`, of the same shape. */
  readonly derive?: string;
  /** Model output of the sample before; zeros for the first sample of a sequence. */
  readonly recurrent?: string;
  readonly preprocess?: PreprocessPreset | PreprocessSpec;
  /** Axis of the model input along which samples are stacked, or `none` when it takes one sample as it is. */
  readonly sampleAxis?: number | 'none';
  /** Sizes of the dimensions that the model leaves open in the input, in order, without the sample axis. */
  readonly sizes?: readonly number[];
  /** Integers of `random` are drawn from 0 to this number minus one; 2 by default. */
  readonly below?: number;
}

/**
 * From stored numbers to what the model takes: geometry first, then `(x · scale − mean) / std` a channel. Mean and std
 * are in the order of the model's channels. All keys win over those of the preset.
 */
export interface PreprocessSpec {
  readonly preset?: PreprocessPreset;
  /** Height and width for the model; its own input size when that is known. */
  readonly size?: readonly [height: number, width: number];
  /**
   * How an image gets that size: `stretch` both sides; `crop` the centre of an image whose shorter side is
   * `size / cropFraction`; `pad` the shorter side after the longer one fits; `none` takes the image as it is.
   * Default: `stretch` for image files, `none` for arrays.
   */
  readonly fit?: 'stretch' | 'crop' | 'pad' | 'none';
  /** Share of the resized image that `crop` keeps, 1 by default; 0.875 is 224 out of 256. */
  readonly cropFraction?: number;
  /** Value around a padded image, in stored units; 0 by default. */
  readonly padValue?: number;
  /** Layout of the model input; NCHW by default, NHWC when only its last dimension is a number of channels. */
  readonly layout?: 'NCHW' | 'NHWC';
  /** Channel order of the model. Stored images are RGB, or gray where they have one channel (then repeated). */
  readonly channels?: 'RGB' | 'BGR' | 'gray';
  /** Axes of a stored sample: CHW by default, HW for one with two axes. */
  readonly stored?: 'CHW' | 'HWC' | 'HW';
  readonly scale?: number;
  readonly mean?: number | readonly number[];
  readonly std?: number | readonly number[];
}

/** `nonzero(ids)` taken apart. */
export interface Derivation {
  readonly rule: DerivationRule;
  readonly from: string;
}

export const DERIVATION_RULES = ['nonzero', 'ones', 'zeros', 'positions'] as const;
export type DerivationRule = (typeof DERIVATION_RULES)[number];

/** Parses `rule(input)`; undefined when it is not of that form. */
export function parseDerivation(text: string): Derivation | undefined {
  const match = /^(\w+)\((.+)\)$/.exec(text);
  const rule = DERIVATION_RULES.find((r) => r === match?.[1]);
  return rule === undefined || match?.[2] === undefined ? undefined : { rule, from: match[2].trim() };
}

const SOURCES = ['array', 'file', 'value', 'derive', 'recurrent'] as const;

/**
 * Checks what types alone cannot: contradictions, ranges, names. All problems are reported at once.
 *
 * @throws FxqError E_CONFIG
 */
export function validateDataSpec(spec: DataSpec): void {
  const problems: string[] = [];
  const check = (ok: boolean, problem: string): void => void (ok || problems.push(problem));
  const random = spec.kind === 'random';
  check(random || spec.path !== undefined, 'data needs a path, or kind: random');
  check(!random || spec.path === undefined, 'kind: random takes no path');
  check(!random || spec.rows === undefined, 'kind: random takes no rows; give the number of samples');
  check(
    spec.samples === undefined || isCount(spec.samples),
    `samples: ${spec.samples} is no positive integer`,
  );
  check(
    spec.sequence === undefined || isCount(spec.sequence),
    `sequence: ${spec.sequence} is no positive integer`,
  );
  const [from, to] = spec.rows ?? [0, 1];
  check(
    Number.isInteger(from) && Number.isInteger(to) && 0 <= from && from < to,
    `rows: [${from}, ${to}] is no range of rows`,
  );
  for (const [name, input] of Object.entries(spec.inputs ?? {})) {
    const given = SOURCES.filter((key) => input[key] !== undefined);
    check(given.length < 2, `inputs.${name} has ${given.join(' and ')}; only one can fill it`);
    check(
      input.derive === undefined || parseDerivation(input.derive) !== undefined,
      `inputs.${name}.derive: '${input.derive}' is none of ${DERIVATION_RULES.map((r) => `${r}(input)`).join(', ')}`,
    );
    problems.push(...preprocessProblems(input.preprocess, `inputs.${name}.preprocess`));
  }
  problems.push(...preprocessProblems(spec.preprocess, 'preprocess'));
  if (problems.length > 0)
    throw new FxqError('E_CONFIG', `the data cannot be read as described: ${problems.join('; ')}`, [
      'See docs/data.md for what a data set may say.',
    ]);
}

const isCount = (n: number): boolean => Number.isInteger(n) && n > 0;

function preprocessProblems(given: PreprocessPreset | PreprocessSpec | undefined, where: string): string[] {
  if (given === undefined) return [];
  const preset = typeof given === 'string' ? given : given.preset;
  if (preset !== undefined && !Object.hasOwn(PREPROCESS_PRESETS, preset))
    return [
      `${where}: there is no preset '${preset}'. ${didYouMean(preset, Object.keys(PREPROCESS_PRESETS))}`.trim(),
    ];
  if (typeof given === 'string') return [];
  const { std, mean, size, cropFraction } = given;
  const problems: string[] = [];
  const listed = (x: number | readonly number[] | undefined): readonly number[] =>
    x === undefined ? [] : typeof x === 'number' ? [x] : x;
  if (listed(std).some((s) => !(s > 0))) problems.push(`${where}.std must be positive`);
  if (typeof mean === 'object' && typeof std === 'object' && mean.length !== std.length)
    problems.push(`${where}: mean has ${mean.length} channels, std ${std.length}`);
  if (size !== undefined && !size.every(isCount))
    problems.push(`${where}.size: [${size.join(', ')}] is no size`);
  if (cropFraction !== undefined && !(cropFraction > 0 && cropFraction <= 1))
    problems.push(`${where}.cropFraction must be above 0 and at most 1`);
  return problems;
}
