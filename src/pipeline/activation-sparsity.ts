/** Activation sparsity as part of a run: thresholds chosen and written, and what they save by prediction. */
import { FxqError, type Context } from '../core/index.js';
import { openDataSet, type DataSpec } from '../data/index.js';
import { inferValueTypes, openSession, readAll, withOutputs, type Batch } from '../engine/index.js';
import { GraphEditor, feedInputs, withGraph, type Model } from '../onnx/index.js';
import { countMacs } from '../search/index.js';
import {
  findWeightedLayers,
  sparsifyActivations,
  withThresholds,
  type NetworkSparsity,
  type SparsityTarget,
  type WeightedLayer,
} from '../solve/index.js';
import { dtypeCode, tensor } from '../tensor/index.js';
import { type LoadedModel } from './load-model.js';

/** Samples looked at; the last fifth is held out. */
const SAMPLES = 160;
const HELD_OUT = 0.2;
const BATCH = 8;

/** Shares of a network's multiplications with inputs that are zero. Predicted: no runtime here skips them. */
export interface SavedMacs {
  /** In the float network as it is. */
  readonly zeros: number;
  /** With the thresholds. */
  readonly sparse: number;
}

export interface ActivationSparsity extends NetworkSparsity {
  readonly target: SparsityTarget;
  readonly predictedSavedMacs: SavedMacs;
}

/** The model with thresholds in front of its layers, and what they do. */
export async function withSparseActivations(
  loaded: LoadedModel,
  target: SparsityTarget,
  spec: DataSpec | undefined,
  ctx: Context,
): Promise<{ readonly loaded: LoadedModel; readonly sparsity: ActivationSparsity }> {
  if (spec === undefined) {
    throw new FxqError('E_USAGE', 'activation thresholds are chosen on data', 'Give --data PATH.');
  }
  const { found, ...network } = await measureSparsity(loaded, target, spec, ctx);
  const model = withThresholds(
    loaded.model,
    found,
    network.sites.map((site) => site.threshold),
  );
  const sparsity = { ...network, target, predictedSavedMacs: savedMacs(loaded, network) };
  return { loaded: { ...loaded, model, types: await inferValueTypes(model) }, sparsity };
}

/** Thresholds for a target, and their effect, without writing them. */
export async function measureSparsity(
  { model }: LoadedModel,
  target: SparsityTarget,
  spec: DataSpec,
  ctx: Context,
): ReturnType<typeof sparsifyActivations> {
  const data = await openDataSet(spec, feedInputs(model.graph), { ...ctx, note: () => undefined });
  if (data.carry.size > 0) {
    throw new FxqError(
      'E_UNSUPPORTED',
      'activation sparsity is not measured for models with recurrent inputs',
      'Leave out --activation-sparsity.',
    );
  }
  const samples = Math.min(data.samples, SAMPLES);
  const held = samples < 2 ? 0 : Math.max(1, Math.round(samples * HELD_OUT));
  const read = (from: number, to: number): Promise<Batch[]> => readAll(data.batches(BATCH, from, to));
  const parts = { fit: await read(0, samples - held), heldOut: await read(samples - held, samples) };
  const output = model.graph.outputs[0]?.name ?? '';
  return sparsifyActivations(model, output, target, parts, ctx);
}

/** Multiplications with zeros, as a share of those of all weighted layers. */
export function savedMacs({ model, types }: LoadedModel, { sites }: NetworkSparsity): SavedMacs {
  const macs = new Map(
    findWeightedLayers(model.graph).map(({ node }) => [node.name, countMacs(node, { types })]),
  );
  const total = [...macs.values()].reduce((a, b) => a + b, 0);
  const share = (of: (site: NetworkSparsity['sites'][number]) => number): number =>
    sites.reduce((sum, site) => sum + of(site) * (macs.get(site.node) ?? 0), 0) / total;
  return {
    zeros: share((site) => site.zeros),
    sparse: share(({ sparsity }) => sparsity.heldOut ?? sparsity.fit),
  };
}

/**
 * Share of zeros that layers of a quantized model read, by node name; layers under other names or operators (integer
 * kernels written out) are left out.
 */
export async function zerosRead(
  quantized: Model,
  layers: readonly WeightedLayer[],
  spec: DataSpec,
  ctx: Context,
): Promise<ReadonlyMap<string, number>> {
  const editor = new GraphEditor(quantized.graph);
  const byName = new Map(quantized.graph.nodes.map((node) => [node.name, node]));
  const zero = editor.addInitializer('fxq_zero', tensor('float32', [], [0]));
  const probes = layers.flatMap(({ node: float, weightInput }) => {
    const node = byName.get(float.name);
    if (node?.opType !== float.opType) return [];
    const input = node.inputs[1 - weightInput] ?? '';
    const isZero = editor.emit('Cast', [editor.emit('Equal', [input, zero])], { to: dtypeCode('int64') });
    const zeros = editor.emit('ReduceSum', [isZero], { keepdims: 0 }, 'fxq_zeros');
    return [{ name: float.name, zeros, total: editor.emit('Size', [input], {}, 'fxq_total') }];
  });
  if (probes.length === 0) return new Map();
  const names = probes.flatMap(({ zeros, total }) => [zeros, total]);
  const model = withOutputs(withGraph(quantized, editor.finish()), names, true);
  const session = await openSession(model, { threads: ctx.threads, optimization: 'basic' });
  const sums = new Map(names.map((name) => [name, 0]));
  const data = await openDataSet(spec, feedInputs(quantized.graph), { ...ctx, note: () => undefined });
  for await (const { inputs } of data.batches(BATCH, 0, Math.min(data.samples, SAMPLES)))
    for (const [name, value] of await session.run(inputs, names))
      sums.set(name, (sums.get(name) ?? 0) + Number(value.data[0]));
  await session.release();
  return new Map(
    probes.map(({ name, zeros, total }) => [name, (sums.get(zeros) ?? 0) / (sums.get(total) ?? 1)]),
  );
}
