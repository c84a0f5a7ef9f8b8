/** Content hashes: identify models, data and settings by what they hold, never by path or time. */
import { createHash } from 'node:crypto';

/** SHA-256 of byte chunks, in order, as lower-case hex. */
export function sha256(...chunks: readonly (Uint8Array | string)[]): string {
  const hash = createHash('sha256');
  for (const chunk of chunks) hash.update(chunk);
  return hash.digest('hex');
}

/** SHA-256 of a plain value through JSON with sorted keys, so that key order does not matter. */
export function hashValue(value: unknown): string {
  return sha256(canonicalJson(value));
}

/** JSON with object keys in sorted order: equal values give equal text. */
export function canonicalJson(value: unknown, indent?: number): string {
  return JSON.stringify(value, sortKeys, indent);
}

function sortKeys(_key: string, value: unknown): unknown {
  if (value === null || typeof value !== 'object' || Array.isArray(value) || ArrayBuffer.isView(value))
    return value;
  const entries = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0));
  return Object.fromEntries(entries);
}
