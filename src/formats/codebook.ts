/**
 * Codebooks (Deep Compression, arXiv 1510.00149; SqueezeLLM, arXiv 2306.07629): 2^N levels learned for each tensor by
 * k-means. `scale` is that of a group, the levels are shared by all groups.
 */
import { integerStorage } from './affine.js';
import { float32Scale } from './binary-exponent.js';
import { type FormatFamily, type NumberFormat } from './format.js';
import { countBelow, kMeans } from './k-means.js';
import { type Sample } from './sample.js';

/**
 * N-bit codebook.
 *
 * @param levels ascending, in units of the scale; when absent they lie evenly in [−1, 1] until `fitted` learns them. Fewer
 * than 2^N are filled up with the last one
 */
export function codebookFormat(bits: number, levels?: ArrayLike<number>): NumberFormat {
  const count = 2 ** bits;
  const table =
    levels === undefined
      ? Float32Array.from({ length: count }, (_, i) => (2 * i) / (count - 1) - 1)
      : filledUp(levels, count);
  const middles = Float64Array.from(table.subarray(1), (level, i) => (level + (table[i] as number)) / 2);
  return {
    name: `codebook${bits}`,
    family: 'codebook',
    bits,
    signed: true,
    low: 0,
    high: count - 1,
    integer: false,
    uniform: false,
    affine: false,
    scale: 'float',
    ...integerStorage(bits, false),
    onnx: 'table',
    encode: (x) => countBelow(middles, Number.isNaN(x) ? 0 : x),
    decode: (code) => table[code] ?? NaN,
    scaleFor: float32Scale,
    ...(levels === undefined
      ? { fitted: (groups, scales) => codebookFormat(bits, learnedLevels(groups, scales, count)) }
      : { levels: table }),
  };
}

function filledUp(levels: ArrayLike<number>, count: number): Float32Array {
  const last = levels[levels.length - 1] ?? 0;
  return Float32Array.from({ length: count }, (_, i) => levels[i] ?? last);
}

/** Levels for the values of groups over their scales; an error there counts by the square of the scale. */
function learnedLevels(
  groups: readonly Sample[],
  scales: ArrayLike<number> | undefined,
  count: number,
): Float64Array {
  const values: number[] = [];
  const weights: number[] = [];
  groups.forEach((group, g) => {
    const scale = scales?.[g] ?? 1;
    for (let i = 0; i < group.values.length; i++) {
      values.push((group.values[i] as number) / scale);
      weights.push((group.counts?.[i] ?? 1) * scale * scale);
    }
  });
  return codebookLevels(values, weights, count);
}

/**
 * At most `count` levels of least squared error by weights. Where a level's fair share of the values is exactly zero, as
 * in a pruned tensor, one level is: what was pruned stays so.
 */
export function codebookLevels(
  values: ArrayLike<number>,
  weights: ArrayLike<number>,
  count: number,
): Float64Array {
  const levels = kMeans(values, weights, count);
  let zeros = 0;
  for (let i = 0; i < values.length; i++) if (values[i] === 0) zeros++;
  if (zeros * count < values.length) return levels;
  const nearest = levels.reduce((best, level) => (Math.abs(level) < Math.abs(best) ? level : best), Infinity);
  return levels.map((level) => (level === nearest ? 0 : level));
}

export const CODEBOOK: FormatFamily = {
  syntax: 'codebookN (levels learned for each tensor, N = 2…8)',
  members: ['codebook2', 'codebook3', 'codebook4', 'codebook8'],
  parse(name) {
    const match = /^codebook([2-8])$/.exec(name);
    return match === null ? undefined : codebookFormat(Number(match[1]));
  },
};
