/** Samples as batches in memory, the last share of them held out. */
import { type Batch } from '../../engine/index.js';
import { fitSamples, MOMENTS_DEFAULTS, type LayerData } from './collect.js';

/** All batches; those from `fitBatches` on are held out. */
export interface SplitBatches {
  readonly batches: readonly Batch[];
  readonly fitBatches: number;
}

/** Reads all samples; no batch has samples of both parts. */
export async function readBatches(data: LayerData): Promise<SplitBatches> {
  const { batch, heldOut } = MOMENTS_DEFAULTS;
  const fit = fitSamples(data.samples, heldOut);
  const batches: Batch[] = [];
  let fitBatches = 0;
  for await (const b of data.batches(batch, 0, fit)) fitBatches = batches.push(b);
  for await (const b of data.batches(batch, fit, data.samples)) batches.push(b);
  return { batches, fitBatches };
}
