/** Settings from several sources, merged key by key, remembering where each value came from. */

/** A nested plain object of settings; arrays are values. */
export type Settings = { readonly [key: string]: unknown };

export interface Source {
  /** As a user knows it: "--samples", "FXQ_SEED", "fxq.config.yaml", "preset int8", "default". */
  readonly name: string | ((path: string) => string);
  readonly values: Settings;
}

export interface Merged {
  readonly values: Settings;
  /** Name of the winning source by dotted path of every value. */
  readonly origins: ReadonlyMap<string, string>;
}

/** Merges sources; later ones win. Objects merge key by key, anything else replaces what was there. */
export function mergeSources(sources: readonly Source[]): Merged {
  const values: Record<string, unknown> = {};
  const origins = new Map<string, string>();
  for (const source of sources) {
    for (const [path, value] of leaves(source.values)) {
      for (const other of [...origins.keys()])
        if (path.startsWith(`${other}.`) || other.startsWith(`${path}.`)) origins.delete(other);
      setPath(values, path, value);
      origins.set(path, typeof source.name === 'string' ? source.name : source.name(path));
    }
  }
  return { values, origins };
}

/** Every value that is no object, with its dotted path; undefined ones are left out. */
export function leaves(settings: Settings, prefix = ''): [path: string, value: unknown][] {
  return Object.entries(settings).flatMap(([key, value]): [string, unknown][] => {
    const path = prefix === '' ? key : `${prefix}.${key}`;
    if (value === undefined) return [];
    return isSettings(value) ? leaves(value, path) : [[path, value]];
  });
}

/** Sets one value by dotted path; a value in the way that is no object gives way to one. */
export function setPath(target: Record<string, unknown>, path: string, value: unknown): void {
  const keys = path.split('.');
  let at = target;
  for (const key of keys.slice(0, -1)) {
    if (!isSettings(at[key])) at[key] = {};
    at = at[key] as Record<string, unknown>;
  }
  at[keys[keys.length - 1] ?? path] = value;
}

export function isSettings(value: unknown): value is Settings {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
