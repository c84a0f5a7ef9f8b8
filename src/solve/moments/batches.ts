/** Samples as batches in memory, the last share of them held out. */
import { readAll, type Batch } from '../../engine/index.js';
import { fitSamples, MOMENTS_DEFAULTS, type LayerData, type MomentsOptions } from './collect.js';

/** All batches; those from `fitBatches` on are held out. */
export interface SplitBatches {
  readonly batches: readonly Batch[];
  readonly fitBatches: number;
}

/** Reads samples, all by default; no batch has samples of both parts. */
export async function readBatches(
  data: LayerData,
  { batch, samples }: Pick<MomentsOptions, 'batch' | 'samples'> = MOMENTS_DEFAULTS,
): Promise<SplitBatches> {
  const count = Math.min(data.samples, samples);
  const fit = fitSamples(count, MOMENTS_DEFAULTS.heldOut);
  const fitted = await readAll(data.batches(batch, 0, fit));
  const heldOut = await readAll(data.batches(batch, fit, count));
  return { batches: [...fitted, ...heldOut], fitBatches: fitted.length };
}
