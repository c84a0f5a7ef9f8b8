/** What a quantized model loses of a task metric, with how far that figure can be trusted. */
import { checkAbort, required, type Context } from '../core/index.js';
import { openDataSet, readLabels, selectLabels, type DataSpec } from '../data/index.js';
import { createRunner, openSession } from '../engine/index.js';
import { feedInputs, type Model } from '../onnx/index.js';
import { loadMetric, type Metric, type MetricBatch } from '../report/index.js';

/** A limit on what a metric may lose. */
export interface DropRequest {
  /** In the metric's own unit: points for shares. */
  readonly max: number;
  /** Name of a built-in metric, or the path of a module. */
  readonly metric: string;
  readonly labels: string;
  /** Samples the metric is taken on. */
  readonly data: DataSpec;
  /** Output with class scores; the first when absent. */
  readonly scores?: string;
}

export interface Drop {
  /** Positive when the quantized model is worse. */
  readonly value: number;
  /** Standard error of `value` (jackknife over ten folds of the samples). */
  readonly error: number;
  readonly samples: number;
}

export type MeasureDrop = (quantized: Model) => Promise<Drop>;

const FOLDS = 10;
const BATCH = 32;

/**
 * Opens a measurement against the float model, which is run once.
 *
 * The standard error is that of the difference on the same samples. Any metric is supported, also those that are no
 * means over samples: of ten folds each one is left out in turn, and the variance of the ten drops, times 9, is that of
 * the drop (Tukey's jackknife).
 */
export async function openMetricDrop(request: DropRequest, float: Model, ctx: Context): Promise<MeasureDrop> {
  const metric = await loadMetric(request.metric);
  const data = await openDataSet(request.data, feedInputs(float.graph), ctx);
  const labels = readLabels(request.labels, data);
  const size = Math.max(1, Math.min(BATCH, Math.ceil(data.samples / (2 * FOLDS))));
  const measure = async (model: Model): Promise<number[]> => {
    const session = await openSession(model, { threads: ctx.threads });
    const runner = createRunner(session, data.carry);
    const name = request.scores ?? session.outputs[0]?.name ?? '';
    // The last state sees everything, each of the others all but its fold.
    const states = Array.from({ length: FOLDS + 1 }, () => metric.start());
    try {
      let place = 0;
      for await (const batch of data.batches(size)) {
        checkAbort(ctx);
        const outputs = await runner.run(batch.inputs, [name]);
        const positions = Array.from({ length: batch.count }, (_, i) => batch.first + i);
        const scores = required(outputs.get(name), name);
        const labelled: MetricBatch = { ...batch, outputs, scores, labels: selectLabels(labels, positions) };
        for (const [fold, state] of states.entries()) if (fold !== place % FOLDS) await state.add(labelled);
        place++;
      }
    } finally {
      await session.release();
    }
    return Promise.all(states.map((state) => state.value()));
  };
  const reference = await measure(float);
  return async (quantized) => {
    const values = await measure(quantized);
    const drops = values.map((value, i) => lost(metric, reference[i] ?? NaN, value));
    const folds = drops.slice(0, FOLDS);
    const mean = folds.reduce((a, b) => a + b, 0) / FOLDS;
    const variance = folds.reduce((sum, d) => sum + (d - mean) ** 2, 0) * ((FOLDS - 1) / FOLDS);
    return { value: drops[FOLDS] ?? NaN, error: Math.sqrt(variance), samples: data.samples };
  };
}

function lost({ better }: Metric, float: number, quantized: number): number {
  return better === 'higher' ? float - quantized : quantized - float;
}
