/** N:M patterns: how many of M neighbouring weights may be non-zero, and which weights are neighbours. */
import { FxqError } from '../../core/index.js';
import { type WeightLayout } from '../weight-layout.js';

/** At most `n` of every `m` consecutive weights are non-zero, kept or dropped `unit` at a time. */
export interface Pattern {
  readonly n: number;
  readonly m: number;
  /** 1, or 2 where pairs go together (the 4:8 of 4-bit sparse tensor cores). */
  readonly unit: number;
}

/**
 * A pattern from `N:M`, or `N:M/U` in units of U weights: `2:4`, `4:8`, `4:8/2`.
 *
 * @throws FxqError E_USAGE for anything else
 */
export function parsePattern(text: string): Pattern {
  const [n = 0, m = 0, unit = 1] = (/^(\d+):(\d+)(?:\/(\d+))?$/.exec(text) ?? [])
    .slice(1)
    .flatMap((part) => (part === undefined ? [] : [Number(part)]));
  if (n < 1 || n >= m || m > 64 || unit < 1 || n % unit !== 0 || m % unit !== 0) {
    throw new FxqError('E_USAGE', `'${text}' is not a sparsity pattern`, [
      'Give N:M with 0 < N < M ≤ 64, for example 2:4 or 4:8.',
      'N:M/U keeps or drops U neighbouring weights together, for example 4:8/2.',
    ]);
  }
  return { n, m, unit };
}

/** The text `parsePattern` reads. */
export function formatPattern({ n, m, unit }: Pattern): string {
  return unit === 1 ? `${n}:${m}` : `${n}:${m}/${unit}`;
}

/**
 * Columns of the matrix view in the order of the pattern: every `m` in a row form one group.
 *
 * Sparse tensor cores compress along the reduction axis of the matrix product they compute. For a convolution that axis
 * runs over the input channels of one kernel position after the other, so neighbours are channels, not the positions
 * that are adjacent in the OIHW order of the initializer. Column of channel i at position k: i·kernel + k.
 */
export function patternColumns({ in: depth, kernel }: Pick<WeightLayout, 'in' | 'kernel'>): Int32Array {
  return Int32Array.from(
    { length: depth * kernel },
    (_, at) => (at % depth) * kernel + Math.floor(at / depth),
  );
}

/** Kept weights of every group: the units of largest total score; of equal ones the earlier. */
export function maskByScore(
  scores: ArrayLike<number>,
  rows: number,
  columns: Int32Array,
  pattern: Pattern,
): Uint8Array {
  const cols = columns.length;
  const mask = new Uint8Array(rows * cols);
  const group = new Float64Array(pattern.m);
  const kept = new Uint8Array(pattern.m);
  for (let r = 0; r < rows; r++)
    for (let from = 0; from < cols; from += pattern.m) {
      for (let i = 0; i < pattern.m; i++)
        group[i] = scores[r * cols + (columns[from + i] as number)] as number;
      keepLargest(group, pattern, kept);
      for (let i = 0; i < pattern.m; i++) mask[r * cols + (columns[from + i] as number)] = kept[i] as number;
    }
  return mask;
}

/** Sets `kept` to 1 at the units of one group with the largest total score, to 0 elsewhere. */
export function keepLargest(scores: Float64Array, { n, m, unit }: Pattern, kept: Uint8Array): void {
  kept.fill(0);
  for (let chosen = 0; chosen < n; chosen += unit) {
    let best = -1;
    let most = -Infinity;
    for (let u = 0; u < m; u += unit) {
      if (kept[u] === 1) continue;
      let score = 0;
      for (let i = u; i < u + unit; i++) score += scores[i] as number;
      if (score > most) [most, best] = [score, u];
    }
    kept.fill(1, best, best + unit);
  }
}
