/** What the forms of output need beside plan and weights: calibrated ranges, samples to replay, companion files. */
import { rmSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { type Statistics } from '../calibrate/index.js';
import { type Context, type OutputFile } from '../core/index.js';
import { openDataSet, type DataSpec } from '../data/index.js';
import { tablePath, type CalibratedRanges, type CompanionFile } from '../emit/index.js';
import { feedInputs, type Model } from '../onnx/index.js';
import { type Plan } from '../plan/index.js';
import { tensor, toFloat32, type Tensor } from '../tensor/index.js';
import { sidecarPath } from './sparse.js';

/** Extremes that calibration saw, by activation id. */
export function calibratedRanges(plan: Plan, statistics: Statistics): CalibratedRanges {
  return new Map(
    Object.entries(plan.activations).flatMap(([id, { value }]) => {
      const seen = statistics.tensors.get(value);
      return seen === undefined ? [] : [[id, { low: seen.min, high: seen.max }] as const];
    }),
  );
}

/** Samples that the C++ test bench replays and overflows are looked for on. */
const REPLAYED = 16;

/** The first calibration samples, one at a time, in float32; none without data. */
export async function samplesToReplay(
  model: Model,
  spec: DataSpec | undefined,
  ctx: Context,
): Promise<ReadonlyMap<string, Tensor>[]> {
  if (spec === undefined) {
    const message =
      'there are no samples for the C++ test bench or to look for overflows: they are taken from --data, and none was given';
    ctx.note({ level: 'info', code: 'no-vectors', message });
    return [];
  }
  const data = await openDataSet(spec, feedInputs(model.graph), { ...ctx, note: () => undefined });
  const samples: ReadonlyMap<string, Tensor>[] = [];
  for await (const { inputs } of data.batches(1)) {
    samples.push(new Map([...inputs].map(([name, t]) => [name, tensor('float32', t.dims, toFloat32(t))])));
    if (samples.length === REPLAYED) break;
  }
  return samples;
}

/** Removes tables and packed weights of an earlier model of this name: a report would read them as this one's. */
export function removeCompanions(out: string): void {
  for (const path of [tablePath(out), sidecarPath(out)]) rmSync(path, { force: true });
}

/** File name of the output without folder and ending. */
export function outputName(out: string): string {
  return basename(out).replace(/\.onnx$/, '');
}

/** Companion files as paths beside the output. */
export function besideOutput(out: string, files: readonly CompanionFile[]): OutputFile[] {
  return files.map(({ name, content }) => ({ path: join(dirname(out), name), chunks: [content] }));
}
