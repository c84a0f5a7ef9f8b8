/** Which rows of a source are used. */
import { FxqError, type Context } from '../core/index.js';
import { type DataSpec } from './spec.js';

/**
 * Rows in ascending order: the range first, then a seeded random subset of it.
 *
 * @param count      rows of the source
 * @param fixedBatch samples the model takes at once, when it fixes them: a remainder is left out
 */
export function chooseRows(
  spec: DataSpec,
  count: number,
  fixedBatch: number | undefined,
  ctx: Context,
): readonly number[] {
  if (spec.only !== undefined) return spec.only;
  const [from, to] = spec.rows ?? [0, count];
  if (to > count) {
    throw new FxqError(
      'E_DATA',
      `rows [${from}, ${to}] were asked for, but ${spec.path ?? 'the data'} has ${count}`,
      `Give rows up to ${count}.`,
    );
  }
  const range = Array.from({ length: to - from }, (_, i) => from + i);
  const subset = spec.kind === 'random' ? range : drawSubset(range, spec.samples, ctx);
  const kept = subset.length - (subset.length % (fixedBatch ?? 1));
  if (kept < subset.length) {
    const message = `the model takes ${fixedBatch} samples at once: the last ${subset.length - kept} are left out`;
    ctx.note({ level: 'warn', code: 'data-remainder', message });
  }
  if (kept > 0) return subset.slice(0, kept);
  throw new FxqError(
    'E_DATA',
    count === 0
      ? `${spec.path ?? 'the data'} holds no samples`
      : `the model takes ${fixedBatch} samples at once, ${subset.length} are given`,
    'Give more samples.',
  );
}

/**
 * A seeded random part of rows, and the others, both ascending.
 *
 * @param fixedBatch samples the model takes at once, when it fixes them: parts are multiples of it
 */
export function splitRows(
  rows: readonly number[],
  count: number,
  fixedBatch = 1,
  { rng }: Pick<Context, 'rng'>,
): readonly [readonly number[], readonly number[]] {
  const wanted = Math.min(Math.max(count - (count % fixedBatch), fixedBatch), rows.length);
  const drawn = new Set(rng.fork('split').sample(rows.length, wanted));
  return [rows.filter((_, i) => drawn.has(i)), rows.filter((_, i) => !drawn.has(i))];
}

function drawSubset(range: readonly number[], samples: number | undefined, ctx: Context): readonly number[] {
  if (samples === undefined || samples === range.length) return range;
  if (samples > range.length) {
    const message = `${samples} samples were asked for, there are ${range.length}: all are used`;
    ctx.note({ level: 'warn', code: 'data-fewer-samples', message });
    return range;
  }
  return ctx.rng
    .fork('samples')
    .sample(range.length, samples)
    .map((i) => range[i] ?? 0);
}
