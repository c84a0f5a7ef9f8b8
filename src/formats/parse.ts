/** The table of format families, and names to formats. */
import { FxqError, didYouMean } from '../core/index.js';
import { AFFINE } from './affine.js';
import { BLOCK_FLOAT, MICROSCALING } from './block.js';
import { CODEBOOK, codebookFormat } from './codebook.js';
import { DFP } from './dfp.js';
import { FEW_LEVELS } from './few-levels.js';
import { FIXED } from './fixed.js';
import { type FormatFamily, type NumberFormat } from './format.js';
import { HALF } from './half.js';
import { MINIFLOAT } from './minifloat.js';
import { NORMAL_FLOAT } from './normal-float.js';
import { POWER } from './power.js';
import { POWER_OF_TWO_SUMS } from './power-of-two-sums.js';
import { VECTOR, vectorFormat } from './vector.js';

/** Every family; a new one is one file and one row here. */
export const FAMILIES = {
  affine: AFFINE,
  'few-levels': FEW_LEVELS,
  fixed: FIXED,
  dfp: DFP,
  'power-of-two-sums': POWER_OF_TWO_SUMS,
  minifloat: MINIFLOAT,
  half: HALF,
  microscaling: MICROSCALING,
  'block-float': BLOCK_FLOAT,
  'normal-float': NORMAL_FLOAT,
  power: POWER,
  codebook: CODEBOOK,
  vector: VECTOR,
} as const satisfies Record<string, FormatFamily>;

const ROWS: readonly FormatFamily[] = Object.values(FAMILIES);

/** Names of the listed formats, in table order. */
export function formatNames(): string[] {
  return ROWS.flatMap((family) => family.members);
}

/**
 * The number format with this name: `int8`, `uint4`, `fix8.5`, `e4m3` …
 *
 * @throws FxqError E_FORMAT for an unknown name, with the nearest known ones
 */
export function parseFormat(name: string): NumberFormat {
  for (const family of ROWS) {
    const format = family.parse(name);
    if (format !== undefined) return format;
  }
  const suggestion = didYouMean(name, formatNames());
  throw new FxqError('E_FORMAT', `unknown number format '${name}'`, [
    ...(suggestion === '' ? [] : [suggestion]),
    `Known formats: ${ROWS.map((family) => family.syntax).join('; ')}.`,
  ]);
}

/**
 * The format of a stored weight: by its name, and by its table of levels where that was learned.
 *
 * @param levels by code, in units of the scale
 */
export function storedFormat(name: string, levels: ArrayLike<number> | undefined): NumberFormat {
  const format = parseFormat(name);
  if (levels === undefined) return format;
  const { vector } = format;
  return vector === undefined
    ? codebookFormat(format.bits, levels)
    : vectorFormat(Math.log2(vector.words), vector.size, levels);
}
