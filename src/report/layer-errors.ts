/** Error of every layer, by itself and accumulated, on a few samples. */
import { checkAbort, type Context } from '../core/index.js';
import {
  NO_CARRY,
  openSession,
  withOutputs,
  type Batch,
  type Carry,
  type Feeds,
  type Session,
} from '../engine/index.js';
import { operatorFacts, type Model } from '../onnx/index.js';
import { NO_ERROR, relativeError, type Tensor } from '../tensor/index.js';
import { decibels } from './compare-outputs.js';
import { buildLayerGraph, floatInput, isReal, type LayerGraph, type SharedValue } from './layer-graph.js';
import { type LayerResult } from './result.js';
import { cutAt, sharedValues, type Segment } from './segments.js';
import { weightType } from './sizes.js';

export interface LayerErrorOptions {
  /** Samples to measure on. */
  readonly samples: number;
  /** Recurrent state: inputs that continue an output of the batch before. Both models then start from the float state. */
  readonly carry?: Carry;
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
  batches: AsyncIterable<Batch> | Iterable<Batch>,
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
  const carry = options.carry ?? NO_CARRY;
  const threads = { threads: ctx.threads };
  const floatSession = await openSession(withOutputs(float, [...names, ...carry.values()], true), threads);
  const types = new Map(floatSession.outputs.map(({ name, dtype }) => [name, dtype]));
  const values = names.flatMap((name): SharedValue[] => {
    const dtype = types.get(name);
    return isReal(dtype) ? [{ name, dtype }] : [];
  });
  const layers = buildLayerGraph(quantized, values);
  // Graph as written: a fused integer kernel would hide the values in between.
  const session = await openSession(layers.model, { ...threads, optimization: 'basic' });
  try {
    const totals = await addUpSums(floatSession, session, batches, { ...options, carry }, ctx);
    const order = values.map((v) => v.name);
    return summarize(cutAt(quantized.graph, order), layers, totals);
  } finally {
    await Promise.all([floatSession.release(), session.release()]);
  }
}

/** Runs the float model and the measuring graph on its values, batch by batch; the sums by output name. */
async function addUpSums(
  float: Session,
  measuring: Session,
  batches: AsyncIterable<Batch> | Iterable<Batch>,
  { samples, carry, observe }: LayerErrorOptions & { readonly carry: Carry },
  ctx: Context,
): Promise<ReadonlyMap<string, number>> {
  const totals = new Map<string, number>();
  const state = new Map<string, Tensor>();
  const wanted = measuring.inputs.map((input) => input.name);
  const progress = ctx.start('Measuring layers', samples);
  for await (const batch of batches) {
    checkAbort(ctx);
    const inputs = new Map([...state, ...batch.inputs]);
    const activations = await float.run(inputs);
    observe?.(new Map([...inputs, ...activations]));
    for (const [name, sum] of await measuring.run(layerFeeds(inputs, activations, wanted)))
      totals.set(name, (totals.get(name) ?? 0) + Number(sum.data[0]));
    for (const [input, output] of carry) {
      const next = activations.get(output);
      if (next !== undefined) state.set(input, next);
    }
    progress.update(Math.min(batch.first + batch.count, samples));
    if (batch.first + batch.count >= samples) break;
  }
  progress.finish();
  return totals;
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
