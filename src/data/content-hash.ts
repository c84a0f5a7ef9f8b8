/** What the samples are, whatever files hold them. */
import { createHash } from 'node:crypto';
import { canonicalJson } from '../core/index.js';
import { type BoundInput } from './bind.js';

/**
 * SHA-256 of everything that decides the feeds: the stored bytes of the chosen samples, how each input is made from
 * them, and which samples follow each other. Batches, paths and array names do not matter.
 *
 * @param made how the inputs without an array are filled
 */
export function hashSamples(
  bound: readonly BoundInput[],
  made: Readonly<Record<string, unknown>>,
  rows: readonly number[],
  sequence: number,
): string {
  const hash = createHash('sha256');
  const inputs = bound.map(({ input, array, preprocess }) => ({
    input: input.name,
    axis: input.sampleAxis ?? null,
    stored: array.image ? 'image' : [array.dtype, array.dims ?? null],
    preprocess: preprocess?.settings ?? null,
  }));
  hash.update(canonicalJson({ inputs, made, samples: rows.length, sequence }));
  for (const { array } of bound) {
    for (const row of rows) {
      const bytes = array.bytes(row);
      if (array.dims === undefined) hash.update(`${bytes.length} `);
      hash.update(bytes);
    }
  }
  return hash.digest('hex');
}
