/** Settings from several sources, merged key by key, remembering where each value came from. */

/** A nested plain object of settings; arrays are values. */
export type Settings = { readonly [key: string]: unknown };

/** Name of the source of every value, nested as the settings are. */
export type Origins = { readonly [key: string]: string | Origins };

export interface Source {
  /** As a user knows it: "--samples", "fxq.config.yaml", "preset int8", "default". */
  readonly name: string;
  readonly values: Settings;
}

export interface Merged {
  readonly values: Settings;
  readonly origins: Origins;
}

/** Merges sources; later ones win. Objects merge key by key, anything else replaces what was there. */
export function mergeSources(sources: readonly Source[]): Merged {
  const values: MutableSettings = {};
  const origins: MutableOrigins = {};
  for (const source of sources) mergeInto(values, origins, source.values, source.name);
  return { values, origins };
}

type MutableSettings = { [key: string]: unknown };
type MutableOrigins = { [key: string]: string | Origins };

function mergeInto(values: MutableSettings, origins: MutableOrigins, from: Settings, name: string): void {
  for (const [key, value] of Object.entries(from)) {
    if (value === undefined) continue;
    if (isSettings(value)) {
      const inner: MutableSettings = isSettings(values[key]) ? { ...values[key] } : {};
      const innerOrigins: MutableOrigins = typeof origins[key] === 'object' ? { ...origins[key] } : {};
      mergeInto(inner, innerOrigins, value, name);
      values[key] = inner;
      origins[key] = innerOrigins;
    } else {
      values[key] = value;
      origins[key] = name;
    }
  }
}

export function isSettings(value: unknown): value is Settings {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** Settings with one value, at a path. */
export function settingsAt(path: readonly string[], value: unknown): Settings {
  return path.reduceRight<unknown>((inner, key) => ({ [key]: inner }), value) as Settings;
}
