/** Error of every layer, by itself and accumulated, on a few samples. */
import { checkAbort, type Context } from '../core/index.js';
import { openSession, withOutputs, type Feeds } from '../engine/index.js';
import { operatorFacts, type Model } from '../onnx/index.js';
import { NO_ERROR, relativeError, type Tensor } from '../tensor/index.js';
import { decibels } from './compare-outputs.js';
import { type LabelledBatch } from './evaluate.js';
import { buildLayerGraph, floatInput, isReal, type LayerGraph, type SharedValue } from './layer-graph.js';
import { type LayerResult } from './result.js';
import { cutAt, sharedValues, type Segment } from './segments.js';
import { weightType } from './sizes.js';

export interface LayerErrorOptions {
  /** Samples to measure on. */
  readonly samples: number;
  /** Called with the float model's activations of each batch. */
  readonly observe?: (values: ReadonlyMap<string, Tensor>) => void;
}

/**
 * Measures, at every value both models compute, how far the quantized model is from the float one: by the layer
 * itself (its inputs being the float model's, quantized as the layer reads them), accumulated from the model's input,
 * and by the rounding of the value for its readers.
 */
export async function measureLayers(
  float: Model,
  quantized: Model,
  batches: AsyncIterable<LabelledBatch> | Iterable<LabelledBatch>,
  options: LayerErrorOptions,
  ctx: Context,
): Promise<LayerResult[]> {
  const names = sharedValues(float.graph, quantized.graph);
  if (names.length === 0) {
    ctx.note({
      level: 'warn',
      code: 'no-shared-values',
      message: 'the models have no intermediate values of the same name, so there is no error per layer',
    });
    return [];
  }
  const threads = { threads: ctx.threads };
  const floatSession = await openSession(withOutputs(float, names, true), threads);
  const types = new Map(floatSession.outputs.map(({ name, dtype }) => [name, dtype]));
  const values = names.flatMap((name): SharedValue[] => {
    const dtype = types.get(name);
    return isReal(dtype) ? [{ name, dtype }] : [];
  });
  const layers = buildLayerGraph(quantized, values);
  // Graph as written: a fused integer kernel would hide the values in between.
  const session = await openSession(layers.model, { ...threads, optimization: 'basic' });
  const totals = new Map<string, number>();
  const progress = ctx.start('Measuring layers', options.samples);
  try {
    for await (const batch of batches) {
      checkAbort(ctx);
      const activations = await floatSession.run(
        batch.inputs,
        values.map((v) => v.name),
      );
      options.observe?.(new Map([...batch.inputs, ...activations]));
      const feeds = layerFeeds(
        batch.inputs,
        activations,
        session.inputs.map((i) => i.name),
      );
      for (const [name, sum] of await session.run(feeds))
        totals.set(name, (totals.get(name) ?? 0) + Number(sum.data[0]));
      progress.update(Math.min(batch.first + batch.count, options.samples));
      if (batch.first + batch.count >= options.samples) break;
    }
  } finally {
    await Promise.all([floatSession.release(), session.release()]);
  }
  progress.finish();
  return summarize(
    cutAt(
      quantized.graph,
      values.map((v) => v.name),
    ),
    layers,
    totals,
  );
}

function layerFeeds(
  inputs: ReadonlyMap<string, Tensor>,
  activations: ReadonlyMap<string, Tensor>,
  wanted: readonly string[],
): Feeds {
  const all = new Map(inputs);
  for (const [name, tensor] of activations) all.set(floatInput(name), tensor);
  return new Map([...all].filter(([name]) => wanted.includes(name)));
}

/** Operators that hand values on unchanged have no error of their own. */
const UNCHANGING = new Set(['movement', 'shape', 'generator', 'control']);

function summarize(
  segments: readonly Segment[],
  layers: LayerGraph,
  totals: ReadonlyMap<string, number>,
): LayerResult[] {
  const rows = segments.flatMap((segment) => {
    const names = layers.sums.get(segment.value);
    if (names === undefined || UNCHANGING.has(operatorFacts(segment.node)?.category ?? '')) return [];
    const sums = (noise: string): typeof NO_ERROR => ({
      ...NO_ERROR,
      signal: totals.get(names.signal) ?? 0,
      noise: totals.get(noise) ?? 0,
    });
    return [{ segment, names, sums, relative: relativeError(sums(names.own)) }];
  });
  const total = rows.reduce((sum, row) => sum + (Number.isFinite(row.relative) ? row.relative : 0), 0);
  return rows.map(({ segment, names, sums, relative }): LayerResult => {
    const weights = weightType(segment);
    return {
      value: segment.value,
      node: segment.node.name,
      opType: segment.node.opType,
      ...(weights === undefined ? {} : { weights }),
      own: decibels(sums(names.own)),
      share: total === 0 || !Number.isFinite(relative) ? 0 : (100 * relative) / total,
      accumulated: decibels(sums(names.accumulated)),
      ...(names.activation === undefined ? {} : { activation: decibels(sums(names.activation)) }),
    };
  });
}
