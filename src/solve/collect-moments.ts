/** Collecting second moments of many layers in few passes over the data; activations never leave the runtime. */
import { checkAbort, FxqError, required, type Context, type Rng } from '../core/index.js';
import { openSession, withOutputs, type Feeds } from '../engine/index.js';
import { GraphEditor, describeNode, opsetOf, value, withGraph, type Model } from '../onnx/index.js';
import { tensor, toFloat32, toNumbers, type Tensor } from '../tensor/index.js';
import { chooseLattice, type Lattice } from './lattice.js';
import { matrixSize, type WeightedLayer } from './layers.js';
import { emitTap, PHASE, type Tap, type TapOutputs } from './moments-graph.js';
import { type Moments } from './problem.js';

/** Model inputs by sample. */
export interface Samples {
  readonly count: number;
  /** Inputs of samples [start, start + count). */
  feeds(start: number, count: number): Feeds;
}

export interface MomentsOptions {
  /** Rows of X wanted for each column; positions are thinned where there are more. */
  readonly rowsPerColumn: number;
  /** Samples of one run. */
  readonly batch: number;
  /** Bytes that the Gram matrices of one pass may take; layers beyond it wait for the next pass. */
  readonly memory: number;
}

export const MOMENTS_DEFAULTS: MomentsOptions = { rowsPerColumn: 32, batch: 64, memory: 512 * 2 ** 20 };

/** Moments without target: what a layer's inputs alone tell. */
export type InputMoments = Omit<Moments, 'target'>;

/** Input moments of layers by weight name; layers that see the same patches share one object. */
export async function collectMoments(
  model: Model,
  layers: readonly WeightedLayer[],
  samples: Samples,
  ctx: Context,
  options: Partial<MomentsOptions> = {},
): Promise<Map<WeightedLayer, InputMoments>> {
  const settings = { ...MOMENTS_DEFAULTS, ...options };
  if (opsetOf(model) < 13)
    throw new FxqError(
      'E_OPSET',
      `layers of an opset ${opsetOf(model)} model cannot be tapped`,
      'Raise it to opset 13 first.',
    );
  const byPatches = new Map<string, WeightedLayer[]>();
  for (const layer of layers) {
    if (layer.patches.kind === 'lookup') continue;
    const key = patchKey(layer);
    byPatches.set(key, [...(byPatches.get(key) ?? []), layer]);
  }
  const distinct = [...byPatches.values()].map((same) => same[0] as WeightedLayer);
  const shapes = await probeShapes(model, distinct, samples, ctx);
  const taps = distinct.map((layer) => planTap(layer, shapes, samples.count, settings.rowsPerColumn));
  const found = new Map<WeightedLayer, InputMoments>();
  for (const pass of passes(taps, settings.memory)) {
    const sums = await runPass(model, pass, samples, ctx, settings.batch);
    pass.forEach((tap, i) => {
      for (const layer of byPatches.get(patchKey(tap.layer)) ?? []) found.set(layer, sums[i] as InputMoments);
    });
  }
  for (const layer of layers) if (layer.patches.kind === 'lookup') found.set(layer, lookupMoments(layer));
  return found;
}

/** Layers with the same key see the same X. */
export function patchKey(layer: WeightedLayer): string {
  const { groups, in: depth } = layer.layout;
  return JSON.stringify([layer.input, layer.patches, groups, depth]);
}

/** A looked-up row is its own output: every column counts alike. */
function lookupMoments(layer: WeightedLayer): InputMoments {
  const { cols } = matrixSize(layer.layout);
  const gram = new Float64Array(cols * cols);
  for (let c = 0; c < cols; c++) gram[c * cols + c] = 1;
  return { count: cols, gram: [gram], mean: [new Float64Array(cols)] };
}

/** Dimensions of the values that taps read, from one run on one sample. */
async function probeShapes(
  model: Model,
  layers: readonly WeightedLayer[],
  samples: Samples,
  ctx: Context,
): Promise<Map<string, number[]>> {
  const names = [...new Set(layers.flatMap((l) => [l.input, l.output]))];
  const editor = new GraphEditor(model.graph);
  const shapes = names.map((name) => [name, editor.emit('Shape', [name], {}, 'fxq_shape')] as const);
  const probe = withOutputs(
    withGraph(model, editor.finish()),
    shapes.map(([, shape]) => shape),
    true,
  );
  const session = await openSession(probe, { threads: ctx.threads });
  try {
    const found = await session.run(samples.feeds(0, 1));
    return new Map(shapes.map(([name, shape]) => [name, toNumbers(required(found.get(shape), shape))]));
  } finally {
    await session.release();
  }
}

export function planTap(
  layer: WeightedLayer,
  shapes: ReadonlyMap<string, number[]>,
  samples: number,
  rowsPerColumn: number,
): Tap {
  const input = required(shapes.get(layer.input), `the shape of ${layer.input}`);
  const output = required(shapes.get(layer.output), `the shape of ${layer.output}`);
  const wanted = rowsPerColumn * matrixSize(layer.layout).cols;
  if (layer.patches.kind !== 'window') {
    const rows = input.reduce((product, d) => product * d, 1) / layer.layout.in;
    return { layer, inputRank: input.length, lattice: chooseLattice([rows], samples, wanted), pads: [] };
  }
  const lattice: Lattice = chooseLattice(output.slice(2), samples, wanted);
  return {
    layer,
    inputRank: input.length,
    lattice,
    pads: resolvedPads(layer, input.slice(2), output.slice(2)),
  };
}

/** Pads of a Conv, those of `auto_pad` from its shapes: total = (out − 1)·stride + (k − 1)·dilation + 1 − in. */
function resolvedPads(layer: WeightedLayer, input: readonly number[], output: readonly number[]): number[] {
  const patches = layer.patches;
  if (patches.kind !== 'window') return [];
  if (patches.autoPad === 'NOTSET' || patches.autoPad === '') return [...patches.pads];
  if (patches.autoPad === 'VALID') return patches.pads.map(() => 0);
  const totals = patches.kernel.map((k, i) => {
    const reach = ((output[i] as number) - 1) * (patches.strides[i] as number);
    return Math.max(0, reach + (k - 1) * (patches.dilations[i] as number) + 1 - (input[i] as number));
  });
  const less = totals.map((t) => Math.floor(t / 2));
  const more = totals.map((t) => Math.ceil(t / 2));
  return patches.autoPad === 'SAME_LOWER' ? [...more, ...less] : [...less, ...more];
}

/** Splits taps so that the Gram matrices of each part fit into the budget, host copies included. */
function passes(taps: readonly Tap[], memory: number): Tap[][] {
  const parts: Tap[][] = [];
  let room = 0;
  for (const tap of taps) {
    const { cols } = matrixSize(tap.layer.layout);
    const bytes = tap.layer.layout.groups * cols * cols * (4 + 8);
    if (parts.length === 0 || bytes > room) {
      parts.push([]);
      room = memory;
    }
    parts[parts.length - 1]?.push(tap);
    room -= bytes;
  }
  return parts;
}

async function runPass(
  model: Model,
  taps: readonly Tap[],
  samples: Samples,
  ctx: Context,
  batch: number,
): Promise<InputMoments[]> {
  const editor = new GraphEditor(model.graph);
  editor.inputs = [...editor.inputs, value(PHASE, 'int64', [3])];
  const outputs = taps.map((tap) => emitTap(editor, tap));
  const wanted = outputs.flatMap((o) => [o.gram, o.sum, o.rows]);
  const tapped = withOutputs(withGraph(model, editor.finish({ prune: false })), wanted, true);
  const session = await openSession(tapped, { threads: ctx.threads });
  const sums = taps.map((tap) => emptySums(tap.layer));
  const rng = ctx.rng.fork('lattice');
  const progress = ctx.start(`Input moments of ${taps.length} layers`, samples.count);
  try {
    for (let start = 0; start < samples.count; start += batch) {
      checkAbort(ctx);
      const count = Math.min(batch, samples.count - start);
      const results = await session.run({ ...entries(samples.feeds(start, count)), [PHASE]: phase(rng) });
      outputs.forEach((names, i) => addTo(sums[i] as Sums, names, results));
      progress.update(start + count);
    }
  } finally {
    await session.release();
    progress.finish();
  }
  return taps.map((tap, i) => {
    const { target: _, ...inputs } = normalize(tap.layer, sums[i] as Sums);
    return inputs;
  });
}

function entries(feeds: Feeds): Record<string, Tensor> {
  return feeds instanceof Map
    ? Object.fromEntries(feeds as Map<string, Tensor>)
    : { ...(feeds as Record<string, Tensor>) };
}

export function phase(rng: Rng): Tensor {
  return tensor(
    'int64',
    [3],
    [0, 1, 2].map(() => BigInt(rng.below(2 ** 30))),
  );
}

export interface Sums {
  readonly gram: Float64Array;
  readonly sum: Float64Array;
  readonly product: Float64Array;
  readonly targetSum: Float64Array;
  readonly energy: Float64Array;
  rows: number;
}

export function emptySums(layer: WeightedLayer): Sums {
  const { rows, cols } = matrixSize(layer.layout);
  const { groups } = layer.layout;
  return {
    gram: new Float64Array(groups * cols * cols),
    sum: new Float64Array(groups * cols),
    product: new Float64Array(rows * cols),
    targetSum: new Float64Array(rows),
    energy: new Float64Array(rows),
    rows: 0,
  };
}

export function addTo(sums: Sums, names: TapOutputs, results: ReadonlyMap<string, Tensor>): void {
  accumulate(sums.gram, toFloat32(required(results.get(names.gram), names.gram)));
  accumulate(sums.sum, toFloat32(required(results.get(names.sum), names.sum)));
  if (names.target !== undefined) {
    accumulate(sums.product, toFloat32(required(results.get(names.target.product), names.target.product)));
    accumulate(sums.targetSum, toFloat32(required(results.get(names.target.sum), names.target.sum)));
    accumulate(sums.energy, toFloat32(required(results.get(names.target.energy), names.target.energy)));
  }
  sums.rows += toNumbers(required(results.get(names.rows), names.rows))[0] ?? 0;
}

function accumulate(total: Float64Array, part: Float32Array): void {
  for (let i = 0; i < part.length; i++) total[i] = (total[i] as number) + (part[i] as number);
}

export function normalize(layer: WeightedLayer, sums: Sums): Moments {
  if (sums.rows === 0) throw new FxqError('E_DATA', `no input reached ${describeNode(layer.node)}`);
  const { cols } = matrixSize(layer.layout);
  const scaleBy = (part: Float64Array): Float64Array => part.map((v) => v / sums.rows);
  const groups = Array.from({ length: layer.layout.groups }, (_, g) => g);
  return {
    count: sums.rows,
    gram: groups.map((g) => scaleBy(sums.gram.subarray(g * cols * cols, (g + 1) * cols * cols))),
    mean: groups.map((g) => scaleBy(sums.sum.subarray(g * cols, (g + 1) * cols))),
    target: { product: scaleBy(sums.product), mean: scaleBy(sums.targetSum), energy: scaleBy(sums.energy) },
  };
}
