/** Samples as batches in memory, the last share of them held out. */
import { type Batch } from '../../engine/index.js';
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
  const batches: Batch[] = [];
  let fitBatches = 0;
  for await (const b of data.batches(batch, 0, fit)) fitBatches = batches.push(b);
  for await (const b of data.batches(batch, fit, count)) batches.push(b);
  return { batches, fitBatches };
}
