/** Blocks front to back: each sees what the learned blocks before it hand on, and is held to the float network's output. */
import { checkAbort, required, type Context, type Rng } from '../../core/index.js';
import { type Batch } from '../../engine/index.js';
import { GraphEditor, loadTensor, storeTensor, type Model, type TensorType } from '../../onnx/index.js';
import { type Plan, type SolvedWeight } from '../../plan/index.js';
import { tensor, type Tensor } from '../../tensor/index.js';
import { biasInitializer } from '../bias.js';
import { type LayerCache } from '../cache.js';
import { squaredGradients } from '../importance/squared-gradients.js';
import { type WeightedLayer } from '../layers.js';
import { startWalk, type Walk } from '../moments/walk.js';
import {
  openMeter,
  relativeError,
  separable,
  type BlockErrors,
  type BlockInput,
  type BlockProblem,
  type BlockValues,
  type LayerBias,
} from './block-problem.js';
import { type BlockReport, type NetworkValues, type StageErrors } from '../solved.js';
import { blockKey, fromCached, toCached, type SolvedBlock } from './cache.js';
import { findBlocks, type Block } from './find-blocks.js';
import { learnedWeight, realValues } from './learned-weight.js';
import { reconstruct, type ReconstructOptions } from './reconstruct.js';
import { chooseUnits, isOpen, stack, stepDims, type Units } from './samples.js';
import { cutSlice, type Slice, type SliceInput } from './slice-program.js';

export interface BlockOptions extends ReconstructOptions {
  /** Layers of blocks that are joined. */
  readonly join: number;
  /** Samples of one step. */
  readonly batch: number;
  /** Weight errors by the squared gradient of the network's output. */
  readonly importance: boolean;
  /** Added to importance, whose mean is 1. */
  readonly floor: number;
}

export interface SolvedBlocks extends NetworkValues {
  readonly reports: readonly BlockReport[];
}

/** Weights of a whole network by one solver. */
export interface BlockStart extends NetworkValues {
  readonly name: string;
}

/** Everything that blocks are learned from. */
export interface BlockNetwork {
  /** Prepared float model. */
  readonly model: Model;
  /** The same nodes with activations quantized; weights that are not learned as they will be. */
  readonly simulated: Model;
  readonly plan: Plan;
  /** Layers whose weights are learned. */
  readonly layers: readonly WeightedLayer[];
  /** Codes to choose the start from, of all these layers, and their biases where they were corrected. */
  readonly starts: readonly BlockStart[];
  /** The same weights rounded to nearest. */
  readonly nearest: ReadonlyMap<string, SolvedWeight>;
  /** Nodes whose zeros are an N:M pattern. */
  readonly sparse: ReadonlySet<string>;
  readonly batches: readonly Batch[];
  /** Batches from this one on are held out. */
  readonly fitBatches: number;
  /** Keeps finished blocks. */
  readonly cache?: LayerCache;
}

/** Learns the weights of all blocks. */
export async function solveBlocks(
  network: BlockNetwork,
  options: BlockOptions,
  ctx: Context,
): Promise<SolvedBlocks> {
  const { model, layers, batches, fitBatches } = network;
  const blocks = findBlocks(model.graph, layers, { join: options.join });
  const importance = options.importance
    ? await squaredGradients(
        model,
        [...new Set(blocks.flatMap((b) => b.exits))],
        batches.slice(0, fitBatches),
        ctx,
      )
    : new Map<string, Tensor>();
  const exact = startWalk(model, batches, ctx);
  const lossy = startWalk(network.simulated, batches, ctx);
  const weights = new Map<string, SolvedWeight>();
  const biases = new Map<string, Tensor>();
  const reports: BlockReport[] = [];
  const progress = ctx.start('Learning blocks', blocks.length);
  for (const [i, block] of blocks.entries()) {
    checkAbort(ctx);
    const problem = await blockProblem(network, block, { exact, lossy }, importance, options);
    const solved = await solveBlock(network, problem, options, ctx);
    for (const [name, w] of solved.weights) weights.set(name, w);
    for (const [name, t] of solved.biases) biases.set(name, t);
    reports.push(solved.report);
    lossy.setInitializers(
      new Map([...valuesOf(problem, solved)].map(([name, t]) => [name, storeTensor(t)] as const)),
    );
    exact.release();
    lossy.release();
    progress.update(i + 1, `${problem.name}: ${describe(solved.report)}`);
  }
  progress.finish();
  return { weights, biases, reports };
}

function describe({ error, adopted }: BlockReport): string {
  const { start, learned } = error.heldOut ?? error.fit;
  return `${start.toExponential(1)} → ${learned.toExponential(1)}${adopted ? '' : ', start kept'}`;
}

/** Samples and slice of one block. */
async function blockProblem(
  { model, plan, sparse, batches, fitBatches }: BlockNetwork,
  block: Block,
  { exact, lossy }: { readonly exact: Walk; readonly lossy: Walk },
  importance: ReadonlyMap<string, Tensor>,
  options: BlockOptions,
): Promise<BlockProblem> {
  const { graph } = model;
  const seen = new Map<string, readonly Tensor[]>();
  const wanted = new Map<string, readonly Tensor[]>();
  for (const name of block.entries) {
    seen.set(name, await lossy.compute(name));
    wanted.set(name, await exact.compute(name));
  }
  const targets = new Map<string, readonly Tensor[]>();
  for (const name of block.exits) targets.set(name, await exact.compute(name));
  const given = new Map<string, readonly Tensor[]>();
  for (const { name } of graph.inputs) {
    const tensors = batches.flatMap((b) => b.inputs.get(name) ?? []);
    if (tensors.length === batches.length) given.set(name, tensors);
  }
  const free = graph.inputs.every((v) => isOpen(v.type?.dims));
  const all = new Map([...given, ...seen, ...targets]);
  const units = chooseUnits(free, all, batches, fitBatches);
  const inputs = new Map<string, BlockInput>();
  for (const [name, tensors] of given) inputs.set(name, { lossy: stack(units, tensors) });
  for (const [name, tensors] of seen) inputs.set(name, entryOf(units, tensors, wanted.get(name)));
  const cut = (n: number): Promise<Slice> => {
    const sizes = [...inputs].map(([name, { lossy: t }]): [string, SliceInput] => [
      name,
      { dtype: t.dtype, dims: stepDims(units, t, n) },
    ]);
    return cutSlice(lossy.model, new Map(sizes), block.exits);
  };
  const single = await cut(1);
  const batch = units.kind === 'rows' ? batchFor(single, Math.min(options.batch, units.fit)) : 1;
  const slice = batch === 1 ? single : await cut(batch);
  const editor = new GraphEditor(graph);
  const biases = new Map<string, LayerBias>();
  for (const layer of block.layers) {
    const name = biasInitializer(editor, layer);
    if (name === undefined) continue;
    biases.set(name, { layer, value: loadTensor(required(graph.initializers.get(name), name), name) });
  }
  const names = block.layers.map((l) => l.node.name);
  return {
    name: names.length === 1 ? (names[0] ?? '') : `${names[0] ?? ''} … ${names[names.length - 1] ?? ''}`,
    slice,
    units,
    batch,
    inputs: new Map([...inputs].filter(([name]) => slice.inputs.includes(name))),
    targets: new Map([...targets].map(([name, tensors]) => [name, stack(units, tensors)])),
    importance: new Map(
      block.exits.flatMap((name) => {
        const t = importance.get(name);
        return t === undefined ? [] : [[name, separable(t, options.floor)] as const];
      }),
    ),
    weights: block.layers.map((layer) =>
      learnedWeight(
        graph,
        layer,
        required(plan.weights[layer.weight], layer.weight),
        sparse.has(layer.node.name),
      ),
    ),
    biases,
  };
}

/** Elements of all values of a step, about: more do not make a step better by as much as they make it slower. */
const STEP_ELEMENTS = 2 ** 22;

/** Units of a step: as many as wanted, fewer where one of them is large. */
function batchFor({ types }: Slice, wanted: number): number {
  const size = (dims: TensorType['dims']): number =>
    (dims ?? []).reduce((product: number, d) => product * (typeof d === 'number' ? d : 1), 1);
  const elements = [...types.values()].reduce((sum, { dims }) => sum + size(dims), 0);
  return Math.max(1, Math.min(wanted, Math.floor(STEP_ELEMENTS / elements)));
}

/** A value on both sides; only floats can be mixed. */
function entryOf(units: Units, lossy: readonly Tensor[], exact: readonly Tensor[] | undefined): BlockInput {
  const isFloat = lossy[0]?.dtype === 'float32' && exact !== undefined;
  return { lossy: stack(units, lossy), ...(isFloat ? { exact: stack(units, exact) } : {}) };
}

/** The weights of a block as some solver left them; biases that it did not correct are those of the float layers. */
function partOf({ weights, biases }: BlockProblem, name: string, values: NetworkValues): BlockStart {
  return {
    name,
    weights: new Map(
      weights.map(({ layer: { weight } }) => [weight, required(values.weights.get(weight), weight)] as const),
    ),
    biases: new Map(
      [...biases].map(([bias, { value }]) => [bias, values.biases.get(bias) ?? value] as const),
    ),
  };
}

/** Learned codes of one block, or those it started with where they are better on held-out samples. */
async function solveBlock(
  { nearest, starts, cache }: BlockNetwork,
  problem: BlockProblem,
  options: BlockOptions,
  ctx: Context,
): Promise<SolvedBlock> {
  const rounded = partOf(problem, 'nearest', { weights: nearest, biases: new Map() });
  const own = starts.map((s) => partOf(problem, s.name, s));
  const key = blockKey(problem, [rounded, ...own], options, ctx.seed);
  const known = cache?.getBlock(key);
  if (known !== undefined) return fromCached(known);
  const solved = await learnBlock(problem, rounded, own, options, ctx.rng.fork(`block ${problem.name}`));
  cache?.setBlock(key, toCached(solved));
  return solved;
}

/** Share of the iterations in which codes stay. */
const CALM = 0.4;

/** The same without looking it up. */
async function learnBlock(
  problem: BlockProblem,
  rounded: BlockStart,
  own: readonly BlockStart[],
  options: BlockOptions,
  rng: Rng,
): Promise<SolvedBlock> {
  const { units, weights, name } = problem;
  const candidates = weights.some((w) => w.keepsZeros) ? own : [rounded, ...own];
  const meter = await openMeter(problem);
  try {
    const measured = new Map<NetworkValues, BlockErrors>();
    for (const values of new Set([rounded, ...candidates]))
      measured.set(values, await meter.measure(valuesOf(problem, values)));
    const errorOf = (values: NetworkValues, from: number, to: number): number | undefined =>
      relativeError(required(measured.get(values), 'errors'), from, to);
    const fitOf = (values: NetworkValues): number => errorOf(values, 0, units.fit) ?? 0;
    const start = candidates.reduce((best, values) => (fitOf(values) < fitOf(best) ? values : best));
    const noise = required(measured.get(start), 'errors').noise.subarray(0, units.fit);
    // Scales and biases first: that is safe. Codes then move from there, and stay where that does worse.
    const calm = Math.round(CALM * options.iterations);
    const stages: ReconstructOptions[] = [
      { ...options, rounding: 'none', iterations: options.rounding === 'none' ? options.iterations : calm },
      ...(options.rounding === 'none' ? [] : [{ ...options, iterations: options.iterations - calm }]),
    ];
    let learned: NetworkValues = start;
    for (const [i, settings] of stages.entries()) {
      if (!noise.some((e) => e > 0)) break;
      const values = await reconstruct(problem, learned, settings, noise, rng.fork(`stage ${i}`));
      measured.set(values, await meter.measure(valuesOf(problem, values)));
      if (fitOf(values) < fitOf(learned)) learned = values;
    }
    const stage = (from: number, to: number): StageErrors | undefined => {
      const [n, s, l] = [rounded, start, learned].map((values) => errorOf(values, from, to));
      return n === undefined || s === undefined || l === undefined
        ? undefined
        : { nearest: n, start: s, learned: l };
    };
    const fit = required(stage(0, units.fit), 'errors');
    const heldOut = stage(units.fit, units.count);
    const judged = heldOut ?? fit;
    const adopted = judged.learned < judged.start;
    const { weights: codes, biases } = adopted ? learned : start;
    return {
      weights: codes,
      biases,
      report: {
        name,
        layers: weights.map((w) => w.layer.node.name),
        start: start.name,
        error: { fit, ...(heldOut === undefined ? {} : { heldOut }) },
        adopted,
        moved: movedShare(start, learned),
      },
    };
  } finally {
    await meter.release();
  }
}

/** Real weights and biases, as the block's initializers. */
function valuesOf({ weights }: Pick<BlockProblem, 'weights'>, values: NetworkValues): BlockValues {
  return new Map([
    ...weights.map(({ layer, cell }): [string, Tensor] => [
      layer.weight,
      tensor(
        'float32',
        layer.layout.dims,
        realValues(cell, required(values.weights.get(layer.weight), layer.weight)),
      ),
    ]),
    ...values.biases,
  ]);
}

/** Share of the codes that differ. */
function movedShare(start: NetworkValues, learned: NetworkValues): number {
  let [moved, all] = [0, 0];
  for (const [name, { codes }] of start.weights) {
    const now = required(learned.weights.get(name), name).codes;
    codes.forEach((q, i) => (moved += q === now[i] ? 0 : 1));
    all += codes.length;
  }
  return moved / Math.max(all, 1);
}
