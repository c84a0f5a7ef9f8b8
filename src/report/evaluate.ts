/** Runs both models over labelled data and scores them: one stream, neither data nor outputs are kept. */
import { FxqError, checkAbort, didYouMean, type Context } from '../core/index.js';
import { createRunner, type Batch, type Carry, type Session } from '../engine/index.js';
import { type Tensor } from '../tensor/index.js';
import { compareOutput } from './compare-outputs.js';
import { type Metric, type MetricBatch } from './metrics.js';
import { type MetricResult, type OutputResult } from './result.js';

/** A batch and what the models should make of it. */
export interface LabelledBatch extends Batch {
  readonly labels: MetricBatch['labels'];
}

export interface EvaluationOptions {
  readonly metrics: readonly Metric[];
  /** The output with class scores; the first one when absent. */
  readonly scores?: string;
  /** Recurrent state: inputs that continue an output of the batch before. */
  readonly carry?: Carry;
  /** Number of samples, for progress. */
  readonly samples: number;
}

export interface Evaluation {
  readonly metrics: readonly MetricResult[];
  readonly outputs: readonly OutputResult[];
}

/**
 * Scores the float and the quantized model on the same batches.
 *
 * @throws FxqError E_MODEL when the outputs of the models differ in name, E_USAGE for an unknown `scores` output,
 *   E_LABELS when labels do not fit
 */
export async function evaluate(
  float: Session,
  quantized: Session,
  batches: AsyncIterable<LabelledBatch> | Iterable<LabelledBatch>,
  options: EvaluationOptions,
  ctx: Context,
): Promise<Evaluation> {
  const names = commonOutputs(float, quantized);
  const scores = scoresOutput(names, options.scores);
  const comparisons = names.map((name) => ({ name, comparison: compareOutput(name) }));
  const states = options.metrics.map((metric) => ({
    metric,
    float: metric.start(),
    quantized: metric.start(),
  }));
  const runFloat = createRunner(float, options.carry);
  const runQuantized = createRunner(quantized, options.carry);
  const progress = ctx.start('Comparing outputs', options.samples);
  for await (const batch of batches) {
    checkAbort(ctx);
    const a = await runFloat.run(batch.inputs, names);
    const b = await runQuantized.run(batch.inputs, names);
    for (const { name, comparison } of comparisons) comparison.add(output(a, name), output(b, name));
    for (const state of states) {
      await state.float.add({ ...batch, outputs: a, scores: output(a, scores) });
      await state.quantized.add({ ...batch, outputs: b, scores: output(b, scores) });
    }
    progress.update(batch.first + batch.count);
  }
  progress.finish();
  return {
    metrics: await Promise.all(
      states.map(async (s) => metricResult(s.metric, await s.float.value(), await s.quantized.value())),
    ),
    outputs: comparisons.map(({ comparison }) => comparison.result()),
  };
}

function metricResult(metric: Metric, float: number, quantized: number): MetricResult {
  const drop = metric.better === 'higher' ? float - quantized : quantized - float;
  const relative = drop === 0 ? 0 : (100 * drop) / Math.abs(float);
  return { name: metric.name, unit: metric.unit, better: metric.better, float, quantized, drop, relative };
}

function output(outputs: ReadonlyMap<string, Tensor>, name: string): Tensor {
  const found = outputs.get(name);
  if (found === undefined) throw new FxqError('E_RUNTIME', `the runtime returned no output '${name}'`);
  return found;
}

function commonOutputs(float: Session, quantized: Session): string[] {
  const names = float.outputs.map((o) => o.name);
  const others = new Set(quantized.outputs.map((o) => o.name));
  const missing = names.filter((name) => !others.has(name));
  if (missing.length > 0) {
    throw new FxqError(
      'E_MODEL',
      `the quantized model has no output '${missing[0]}'; its outputs are ${[...others].join(', ')}`,
      'Give the float model that the quantized one was made from.',
    );
  }
  return names;
}

function scoresOutput(names: readonly string[], wanted: string | undefined): string {
  if (wanted === undefined) return names[0] ?? '';
  if (names.includes(wanted)) return wanted;
  throw new FxqError('E_USAGE', `the model has no output '${wanted}'`, [
    ...[didYouMean(wanted, names)].filter((s) => s !== ''),
    `Its outputs are ${names.join(', ')}.`,
  ]);
}
