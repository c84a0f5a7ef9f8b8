/** Results of earlier runs, so that an interrupted search goes on where it stopped. */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { canonicalJson, hashValue, writeOutput } from '../core/index.js';

/** Values by key; a key holds everything the value depends on. */
export interface SearchCache {
  read(key: unknown): unknown;
  write(key: unknown, value: unknown): void;
}

/** Remembers nothing. */
export const NO_CACHE: SearchCache = { read: () => undefined, write: () => undefined };

/** One JSON file a value, named by the hash of its key. A damaged file counts as missing. */
export function openCache(folder: string): SearchCache {
  const fileOf = (key: unknown): string => join(folder, `${hashValue(key)}.json`);
  return {
    read: (key) => {
      const file = fileOf(key);
      if (!existsSync(file)) return undefined;
      try {
        return JSON.parse(readFileSync(file, 'utf8')) as unknown;
      } catch {
        return undefined;
      }
    },
    write: (key, value) => writeOutput(fileOf(key), [canonicalJson(value)]),
  };
}

/** The value of a key, computed and remembered when it is not known yet. */
export async function cached<T>(cache: SearchCache, key: unknown, compute: () => Promise<T>): Promise<T> {
  const known = cache.read(key);
  if (known !== undefined) return known as T;
  const value = await compute();
  cache.write(key, value);
  return value;
}
