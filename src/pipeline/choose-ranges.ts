/** `--method auto`: the range method whose quantized model comes closest to the float one on calibration samples. */
import {
  assignRanges,
  type RangeChoice,
  type RangeMethod,
  type RangeSettings,
  type Statistics,
} from '../calibrate/index.js';
import { checkAbort, required, type Context } from '../core/index.js';
import { openDataSet, type DataSpec } from '../data/index.js';
import { emitQdq } from '../emit/index.js';
import { createRunner, openSession, type Batch, type Session } from '../engine/index.js';
import { type FitMethod } from '../formats/index.js';
import { feedInputs, type Model } from '../onnx/index.js';
import { guardBiases, type Plan } from '../plan/index.js';
import { roundToNearest } from '../solve/index.js';
import { errorSums, sqnr, toFloat32, type Tensor } from '../tensor/index.js';

/** In order of preference: a later one must be better. */
const CANDIDATES: readonly RangeMethod[] = ['minmax', 'percentile', 'mse', 'entropy'];
const SAMPLES = 64;
const BATCH = 8;
/** dB that count as exact, so that one untouched output does not decide. */
const CEILING = 100;

export interface Trial {
  readonly method: RangeMethod;
  /** Mean over the outputs of the signal-to-noise ratio against the float model, in dB. */
  readonly sqnr: number;
}

export interface Choice {
  readonly settings: RangeSettings;
  readonly trials: readonly Trial[];
}

/**
 * Settles the range method of a plan. Only calibration samples are looked at, so held-out figures stay honest.
 *
 * @param spec calibration data; without it `auto` means `minmax`, and a note says so
 */
export async function chooseRanges(
  model: Model,
  skeleton: Plan,
  statistics: Statistics,
  wanted: RangeChoice,
  weightRange: FitMethod,
  spec: DataSpec | undefined,
  ctx: Context,
): Promise<Choice> {
  const { method, ...rest } = wanted;
  if (method !== 'auto') return { settings: { ...rest, method }, trials: [] };
  if (spec === undefined) {
    const message = 'ranges are minmax: choosing between methods needs data, and a statistics file was given';
    ctx.note({ level: 'info', code: 'range-method', message });
    return { settings: { method: 'minmax' }, trials: [] };
  }
  const batches = await firstBatches(model, spec, ctx);
  const float = await openSession(model, { threads: ctx.threads });
  const reference = await runAll(float, batches.batches, batches.carry);
  await float.release();
  const progress = ctx.start('Choosing the range method', CANDIDATES.length);
  const trials: Trial[] = [];
  const quiet = { ...ctx, note: () => undefined };
  for (const candidate of CANDIDATES) {
    checkAbort(ctx);
    const plan = guardBiases(assignRanges(skeleton, statistics, { method: candidate }, quiet), model.graph);
    const session = await openSession(emitQdq(model, plan, roundToNearest(model.graph, plan, weightRange)), {
      threads: ctx.threads,
    });
    const outputs = await runAll(session, batches.batches, batches.carry);
    await session.release();
    trials.push({ method: candidate, sqnr: meanSqnr(reference, outputs) });
    progress.update(trials.length);
  }
  const best = trials.reduce((a, b) => (b.sqnr > a.sqnr ? b : a));
  progress.finish(
    `Ranges by ${best.method}: ${trials.map((t) => `${t.method} ${t.sqnr.toFixed(1)} dB`).join(', ')}`,
  );
  return { settings: { method: best.method }, trials };
}

async function firstBatches(
  model: Model,
  spec: DataSpec,
  ctx: Context,
): Promise<{ batches: Batch[]; carry: ReadonlyMap<string, string> }> {
  const data = await openDataSet(spec, feedInputs(model.graph), { ...ctx, note: () => undefined });
  const batches: Batch[] = [];
  for await (const batch of data.batches(BATCH, 0, Math.min(SAMPLES, data.samples))) batches.push(batch);
  return { batches, carry: data.carry };
}

/** Every floating-point output of every batch. */
async function runAll(
  session: Session,
  batches: readonly Batch[],
  carry: ReadonlyMap<string, string>,
): Promise<ReadonlyMap<string, Tensor>[]> {
  const names = session.outputs.filter((o) => o.dtype === 'float32').map((o) => o.name);
  const runner = createRunner(session, carry);
  const results: ReadonlyMap<string, Tensor>[] = [];
  for (const { inputs } of batches) results.push(await runner.run(inputs, names));
  return results;
}

function meanSqnr(
  reference: readonly ReadonlyMap<string, Tensor>[],
  outputs: readonly ReadonlyMap<string, Tensor>[],
): number {
  const names = [...(reference[0]?.keys() ?? [])];
  const each = names.map((name) => {
    const total = reference.reduce(
      (sums, batch, i) =>
        errorSums(
          toFloat32(required(batch.get(name), name)),
          toFloat32(required(outputs[i]?.get(name), name)),
          sums,
        ),
      errorSums([], []),
    );
    return Math.min(sqnr(total), CEILING);
  });
  return each.reduce((a, b) => a + b, 0) / Math.max(each.length, 1);
}
