/** The table of format families, and names to formats. */
import { FxqError, didYouMean } from '../core/index.js';
import { AFFINE } from './affine.js';
import { type FormatFamily, type NumberFormat } from './format.js';

/** Every family; a new one is one file and one row here. */
export const FAMILIES = {
  affine: AFFINE,
} as const satisfies Record<string, FormatFamily>;

/** One name of every listed format, in table order. */
export function formatNames(): string[] {
  return Object.values(FAMILIES).flatMap((family: FormatFamily) => family.members);
}

/**
 * The number format with this name: `int8`, `uint4`, `fix8.5`, `e4m3` …
 *
 * @throws FxqError E_FORMAT for an unknown name, with the nearest known ones
 */
export function parseFormat(name: string): NumberFormat {
  for (const family of Object.values(FAMILIES)) {
    const format = family.parse(name);
    if (format !== undefined) return format;
  }
  const syntax = Object.values(FAMILIES).map((family: FormatFamily) => family.syntax);
  const suggestion = didYouMean(name, formatNames());
  throw new FxqError('E_FORMAT', `unknown number format '${name}'`, [
    ...(suggestion === '' ? [] : [suggestion]),
    `Known formats: ${syntax.join('; ')}.`,
  ]);
}
