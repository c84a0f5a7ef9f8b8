/** From file, environment and flags to one checked configuration that knows where every value came from. */
import { FxqError } from '../core/index.js';
import { FORMS, isIntegerForm, type Form } from '../emit/index.js';
import { PRESETS, type PresetName } from '../plan/index.js';
import { findConfigFile, readConfigFile, type ConfigFile } from './file.js';
import { configSchema, type Config } from './schema.js';
import { isSettings, mergeSources, settingsAt, type Origins, type Settings, type Source } from './sources.js';
import { validate } from './validate.js';

/** One value from the command line, and the key it sets. */
export interface FlagValue {
  /** As a user knows it: "--samples", "FXQ_SEED", "MODEL". */
  readonly source: string;
  readonly path: readonly string[];
  readonly value: unknown;
}

export interface ConfigRequest {
  /** Folder to look for a configuration file in. */
  readonly folder: string;
  /** File named by the user. */
  readonly file?: string;
  readonly flags: readonly FlagValue[];
}

export interface LoadedConfig {
  readonly config: Config;
  /** As merged, before short forms are expanded. */
  readonly values: Settings;
  readonly origins: Origins;
}

const DEFAULTS: Settings = {
  target: 'onnxruntime-cpu',
  seed: 0,
  threads: 0,
  calibration: { method: 'auto' },
  quantize: { preset: 'int8', emit: 'qdq' },
  report: { metrics: [], layers: 32, latency: 'auto', reporters: ['text'], fail: true },
};

/**
 * Merges defaults, preset, configuration file and flags, later ones winning, and checks the result.
 *
 * @throws FxqError E_CONFIG naming every wrong or unknown key with its place
 */
export function loadConfig(request: ConfigRequest): LoadedConfig {
  const path = request.file ?? findConfigFile(request.folder);
  const file = path === undefined ? undefined : readConfigFile(path);
  const given = [...(file === undefined ? [] : [fileSource(file)]), ...flagSources(request.flags)];
  const { values: chosen } = mergeSources(given);
  const implied = [...presetSource(chosen), ...formSource(chosen)];
  const merged = mergeSources([{ name: 'default', values: DEFAULTS }, ...implied, ...given]);
  const config = validate(configSchema, merged.values, (keys) => locate(keys, file, request.flags));
  return { config, ...merged };
}

/** What a preset sets beyond the defaults. */
function presetSource(chosen: Settings): Source[] {
  const preset = isSettings(chosen.quantize) ? chosen.quantize.preset : undefined;
  // An unknown name is left to the schema, which lists the known ones.
  if (typeof preset !== 'string' || !Object.hasOwn(PRESETS, preset)) return [];
  return [{ name: `preset ${preset}`, values: { quantize: PRESETS[preset as PresetName] } }];
}

/** What a form of output sets: integer arithmetic wants plans of its own. */
function formSource(chosen: Settings): Source[] {
  const form = isSettings(chosen.quantize) ? chosen.quantize.emit : undefined;
  if (typeof form !== 'string' || !Object.hasOwn(FORMS, form) || !isIntegerForm(form as Form)) return [];
  return [{ name: `emit ${form}`, values: { target: 'integer' } }];
}

function fileSource(file: ConfigFile): Source {
  return { name: file.path, values: expandPaths(file.values) };
}

/** `data: file.npz` is short for `data: { path: file.npz }`, so that a flag can change another key of it. */
function expandPaths(values: Settings): Settings {
  const expand = (data: unknown): unknown => (typeof data === 'string' ? { path: data } : data);
  const { report, search } = values;
  return {
    ...values,
    ...('data' in values ? { data: expand(values.data) } : {}),
    ...(isSettings(report) && 'data' in report ? { report: { ...report, data: expand(report.data) } } : {}),
    ...(isSettings(search) && 'data' in search ? { search: { ...search, data: expand(search.data) } } : {}),
  };
}

function flagSources(flags: readonly FlagValue[]): Source[] {
  return flags.map(({ source, path, value }) => ({ name: source, values: settingsAt(path, value) }));
}

function locate(
  keys: readonly PropertyKey[],
  file: ConfigFile | undefined,
  flags: readonly FlagValue[],
): string | undefined {
  const flag = flags.find(({ path }) => path.every((key, i) => key === keys[i]));
  if (flag !== undefined) return flag.source;
  const line = file?.line(keys);
  return file === undefined || line === undefined ? undefined : `${file.path}:${line}`;
}

/** A setting that a command cannot do without. @throws FxqError E_USAGE saying how to give it */
export function requireSetting<T>(value: T | undefined, what: string, how: string): T {
  if (value === undefined) throw new FxqError('E_USAGE', `${what} is missing`, `Give it with ${how}.`);
  return value;
}
