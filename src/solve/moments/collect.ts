/** Moments of many layers in few passes over the data; activations never leave the runtime. */
import { FxqError, required, type Context } from '../../core/index.js';
import { createRunner, openSession, withOutputs, type Batch, type Carry } from '../../engine/index.js';
import { GraphEditor, opsetOf, value, withGraph, type Model } from '../../onnx/index.js';
import { toNumbers, type Tensor } from '../../tensor/index.js';
import { type WeightedLayer } from '../layers.js';
import { matrixSize } from '../weight-layout.js';
import { PHASE, PHASE_AXES, type PatchPlan, type RowWeights } from './patches.js';
import { randomPhase, startSums, type InputMoments, type Sums } from './sums.js';
import { emitTap, namesOfTap, planPatches, type TapValues } from './tap.js';
import { declare } from './walk.js';

/** Samples for a model: what a data set offers. */
export interface LayerData {
  readonly samples: number;
  /** Recurrent inputs and the outputs they continue. */
  readonly carry: Carry;
  /** Samples `from` up to `to` in batches of about `wanted`. */
  batches(wanted: number, from?: number, to?: number): AsyncIterable<Batch>;
}

export interface MomentsOptions {
  /** Rows of X for each column of it; positions are thinned where there are more. */
  readonly rowsPerColumn: number;
  /** Samples of one run. */
  readonly batch: number;
  /** Bytes that the Gram matrices of one pass may take; layers beyond it wait for another pass. */
  readonly memory: number;
  /** Share of the samples, the last ones, that is kept for the honest error. */
  readonly heldOut: number;
  /** Samples to run, at most. */
  readonly samples: number;
  /** How much each row counts, for the batches that `readBatches` makes with these settings; all alike when absent. */
  readonly rowWeights?: RowWeights | undefined;
}

export const MOMENTS_DEFAULTS: MomentsOptions = {
  rowsPerColumn: 16,
  batch: 64,
  memory: 512 * 2 ** 20,
  heldOut: 0.2,
  samples: Infinity,
};

/** What the effort `fast` looks at: a part of the samples, fewer rows of X for each column of it, all in one run. */
export const FAST_MOMENTS = { samples: 128, batch: 128, rowsPerColumn: 5 } as const;

/** Moments of the samples codes are fitted to, and of those kept apart. */
export interface SplitMoments {
  readonly fit: InputMoments;
  readonly heldOut?: InputMoments;
}

/** Number of samples to fit to; all of them where too few would be left to measure on. */
export function fitSamples(samples: number, heldOut: number): number {
  const apart = Math.floor(samples * heldOut);
  return apart < 1 ? samples : samples - apart;
}

/**
 * Input moments of layers; layers that see the same X share one object.
 *
 * @throws FxqError E_OPSET below opset 13, where the operators of the taps differ
 */
export async function collectMoments(
  model: Model,
  layers: readonly WeightedLayer[],
  data: LayerData,
  ctx: Context,
  options: Partial<MomentsOptions> = {},
): Promise<Map<WeightedLayer, SplitMoments>> {
  const settings = { ...MOMENTS_DEFAULTS, ...options };
  requireTapOpset(model);
  // Rows that count differently make other moments of the same X.
  const keyOf = (layer: WeightedLayer): string =>
    settings.rowWeights === undefined ? patchKey(layer) : layer.node.name;
  const alike = new Map<string, WeightedLayer[]>();
  for (const layer of layers.filter((l) => l.patches.kind !== 'lookup')) {
    const key = keyOf(layer);
    alike.set(key, [...(alike.get(key) ?? []), layer]);
  }
  const distinct = [...alike.values()].map((same) => required(same[0], 'a layer'));
  const shapes = await probeShapes(model, distinct, data, ctx);
  const samples = Math.min(data.samples, settings.samples);
  const fit = fitSamples(samples, settings.heldOut);
  const plans = distinct.map((layer) => planPatches(layer, shapes, fit, settings.rowsPerColumn));
  const found = new Map<WeightedLayer, SplitMoments>();
  for (const part of splitByMemory(plans, settings.memory)) {
    const moments = await runPass(model, part, data, { ...settings, fit, samples }, ctx);
    part.forEach(({ layer }, i) => {
      for (const same of alike.get(keyOf(layer)) ?? []) found.set(same, required(moments[i], 'moments'));
    });
  }
  for (const layer of layers.filter((l) => l.patches.kind === 'lookup'))
    found.set(layer, lookupMoments(layer));
  return found;
}

/** Taps are written in the operators of opset 13 and later. */
export function requireTapOpset(model: Model): void {
  if (opsetOf(model) < 13)
    throw new FxqError(
      'E_OPSET',
      `layer inputs of an opset ${opsetOf(model)} model cannot be measured`,
      'Convert the model to opset 13 or later first.',
    );
}

/** Layers with the same key see the same X. */
function patchKey({ input, patches, layout }: WeightedLayer): string {
  return JSON.stringify([input, patches, layout.groups, layout.in]);
}

/** A looked-up row is its own output, so every column counts alike. */
export function lookupMoments(layer: WeightedLayer): SplitMoments {
  const { cols } = matrixSize(layer.layout);
  const gram = new Float64Array(cols * cols);
  for (let c = 0; c < cols; c++) gram[c * cols + c] = 1;
  return { fit: { count: cols, gram: [gram], mean: [new Float64Array(cols)] } };
}

/** Dimensions of the inputs and outputs of layers, by value name, from one run on one sample. */
async function probeShapes(
  model: Model,
  layers: readonly WeightedLayer[],
  data: LayerData,
  ctx: Context,
): Promise<Map<string, number[]>> {
  const editor = new GraphEditor(model.graph);
  const names = [...new Set(layers.flatMap((l) => [l.input, l.output]))];
  const shapes = names.map((name) => [name, editor.emit('Shape', [name], {}, 'fxq_shape')] as const);
  const outputs = shapes.map(([, shape]) => shape);
  const probe = withOutputs(withGraph(model, editor.finish()), outputs, true);
  const session = await openSession(probe, { threads: ctx.threads });
  try {
    for await (const { inputs } of data.batches(1, 0, 1)) {
      const found = await session.run(inputs, outputs);
      return new Map(shapes.map(([name, shape]) => [name, toNumbers(required(found.get(shape), shape))]));
    }
  } finally {
    await session.release();
  }
  throw new FxqError('E_DATA', 'there is no sample to measure layers on', 'Give calibration data.');
}

/** Parts whose Gram matrices, runtime and host copies, each fit into the budget. */
function splitByMemory(plans: readonly PatchPlan[], memory: number): PatchPlan[][] {
  const parts: PatchPlan[][] = [];
  let room = 0;
  for (const plan of plans) {
    const { cols } = matrixSize(plan.layer.layout);
    // One float32 and two float64 matrices (fitted and held-out samples).
    const bytes = plan.layer.layout.groups * cols * cols * (4 + 2 * 8);
    if (parts.length === 0 || bytes > room) {
      parts.push([]);
      room = memory;
    }
    parts[parts.length - 1]?.push(plan);
    room -= bytes;
  }
  return parts;
}

async function runPass(
  model: Model,
  plans: readonly PatchPlan[],
  data: LayerData,
  { fit, samples, batch, rowWeights }: MomentsOptions & { readonly fit: number },
  ctx: Context,
): Promise<SplitMoments[]> {
  const editor = new GraphEditor(model.graph);
  editor.inputs = [...editor.inputs, value(PHASE, 'int64', [PHASE_AXES])];
  const roots = plans.map((plan) => rootsOf(rowWeights, plan, editor));
  const taps = plans.map((plan, i) => emitTap(editor, plan, roots[i]?.values));
  const wanted = taps.flatMap(namesOfTap);
  const outputs = [...new Set([...wanted, ...data.carry.values()])];
  const tapped = withOutputs(withGraph(model, editor.finish()), outputs, true);
  const session = await openSession(tapped, { threads: ctx.threads });
  const runner = createRunner(session, data.carry);
  const rng = ctx.rng.fork('lattice');
  const progress = ctx.start(`Measuring inputs of ${plans.length} layers`, samples);
  let b = 0;
  const sumOver = async (from: number, to: number): Promise<Sums[]> => {
    const sums = plans.map(({ layer }) => startSums(layer));
    for await (const { first, count, inputs } of data.batches(batch, from, to)) {
      const weights = roots.flatMap((r) => (r === undefined ? [] : [r.feed(b)]));
      b++;
      const results = await runner.run(new Map([...inputs, [PHASE, randomPhase(rng)], ...weights]), wanted);
      taps.forEach((names, i) => sums[i]?.add(names, results));
      progress.update(first + count);
    }
    return sums;
  };
  try {
    const fitted = await sumOver(0, fit);
    const apart = fit < samples ? await sumOver(fit, samples) : [];
    progress.finish();
    return fitted.map((sums, i) => {
      const heldOut = apart[i];
      return { fit: sums.inputs(), ...(heldOut === undefined ? {} : { heldOut: heldOut.inputs() }) };
    });
  } finally {
    await session.release();
  }
}

/** A graph input for the weights of a layer's rows, and its tensor for every batch. */
function rootsOf(
  weights: RowWeights | undefined,
  { layer: { node } }: PatchPlan,
  editor: GraphEditor,
): { readonly values: TapValues; readonly feed: (batch: number) => readonly [string, Tensor] } | undefined {
  if (weights === undefined) return undefined;
  const tensors = required(weights.get(node.name), `weights of ${node.name}`);
  const name = editor.uniqueName(`fxq_root_weights_${node.name}`);
  editor.inputs = [...editor.inputs, declare(name, tensors)];
  return { values: { rootWeights: name }, feed: (b) => [name, required(tensors[b], name)] };
}
