/** Blocks front to back: each sees what the learned blocks before it hand on, and is held to the float network's output. */
import { checkAbort, required, type Context } from '../../core/index.js';
import { type Batch } from '../../engine/index.js';
import { GraphEditor, loadTensor, storeTensor, type Model } from '../../onnx/index.js';
import { type Plan, type SolvedWeight } from '../../plan/index.js';
import { tensor, type Tensor } from '../../tensor/index.js';
import { biasInitializer } from '../bias.js';
import { squaredGradients } from '../importance/squared-gradients.js';
import { type WeightedLayer } from '../layers.js';
import { startWalk, type Walk } from '../moments/walk.js';
import {
  openMeter,
  relativeError,
  separable,
  type BlockInput,
  type BlockProblem,
  type BlockValues,
} from './block-problem.js';
import { type BlockReport, type NetworkValues, type StageErrors } from '../solved.js';
import { findBlocks, type Block } from './find-blocks.js';
import { learnedWeight, realValues, type LearnedWeight } from './learned-weight.js';
import { reconstruct, type ReconstructOptions } from './reconstruct.js';
import { chooseUnits, isOpen, stack, stepDims, type Units } from './samples.js';
import { cutSlice, type SliceInput } from './slice-program.js';

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

/** Everything that blocks are learned from. */
export interface BlockNetwork {
  /** Prepared float model. */
  readonly model: Model;
  /** The same nodes with activations quantized; weights that are not learned as they will be. */
  readonly simulated: Model;
  readonly plan: Plan;
  /** Layers whose weights are learned. */
  readonly layers: readonly WeightedLayer[];
  /** Codes to start from, of all these layers, and their biases where they were corrected. */
  readonly start: NetworkValues;
  /** The same weights rounded to nearest. */
  readonly nearest: ReadonlyMap<string, SolvedWeight>;
  /** Nodes whose zeros are an N:M pattern. */
  readonly sparse: ReadonlySet<string>;
  readonly batches: readonly Batch[];
  /** Batches from this one on are held out. */
  readonly fitBatches: number;
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
  { model, plan, start, sparse, batches, fitBatches }: BlockNetwork,
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
  const batch = units.kind === 'rows' ? Math.min(options.batch, units.fit) : 1;
  const inputs = new Map<string, BlockInput>();
  for (const [name, tensors] of given) inputs.set(name, { lossy: stack(units, tensors) });
  for (const [name, tensors] of seen) inputs.set(name, entryOf(units, tensors, wanted.get(name)));
  const sizes = new Map(
    [...inputs].map(([name, { lossy: t }]): [string, SliceInput] => [
      name,
      { dtype: t.dtype, dims: stepDims(units, t, batch) },
    ]),
  );
  const slice = await cutSlice(lossy.model, sizes, block.exits);
  const editor = new GraphEditor(graph);
  const biases = new Map<string, Tensor>();
  for (const layer of block.layers) {
    const name = biasInitializer(editor, layer);
    if (name === undefined) continue;
    biases.set(
      name,
      start.biases.get(name) ?? loadTensor(required(graph.initializers.get(name), name), name),
    );
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
        required(start.weights.get(layer.weight), layer.weight),
        sparse.has(layer.node.name),
      ),
    ),
    biases,
  };
}

/** A value on both sides; only floats can be mixed. */
function entryOf(units: Units, lossy: readonly Tensor[], exact: readonly Tensor[] | undefined): BlockInput {
  const isFloat = lossy[0]?.dtype === 'float32' && exact !== undefined;
  return { lossy: stack(units, lossy), ...(isFloat ? { exact: stack(units, exact) } : {}) };
}

/** Learned codes of one block, or those it started with where they are better on held-out samples. */
async function solveBlock(
  { nearest, model }: BlockNetwork,
  problem: BlockProblem,
  options: BlockOptions,
  ctx: Context,
): Promise<NetworkValues & { readonly report: BlockReport }> {
  const { units, weights, biases, name } = problem;
  const start = { weights: new Map(weights.map((w) => [w.layer.weight, w.start])), biases };
  const rounded = {
    weights: new Map(
      weights.map((w) => [w.layer.weight, required(nearest.get(w.layer.weight), w.layer.weight)]),
    ),
    biases: new Map(
      [...biases.keys()].map((bias) => [
        bias,
        loadTensor(required(model.graph.initializers.get(bias), bias), bias),
      ]),
    ),
  };
  const meter = await openMeter(problem);
  try {
    const [atNearest, atStart] = [
      await meter.measure(valuesOf(problem, rounded)),
      await meter.measure(valuesOf(problem, start)),
    ];
    const startNoise = atStart.noise.subarray(0, units.fit).reduce((sum, v) => sum + v, 0) / units.fit;
    const learned =
      startNoise === 0
        ? { ...start, losses: new Float32Array() }
        : await reconstruct(problem, options, startNoise, ctx.rng.fork(`block ${name}`));
    const atLearned = await meter.measure(valuesOf(problem, learned));
    const stage = (from: number, to: number): StageErrors | undefined => {
      const [n, s, l] = [atNearest, atStart, atLearned].map((e) => relativeError(e, from, to));
      return n === undefined || s === undefined || l === undefined
        ? undefined
        : { nearest: n, start: s, learned: l };
    };
    const fit = required(stage(0, units.fit), 'errors');
    const heldOut = stage(units.fit, units.count);
    const judged = heldOut ?? fit;
    const adopted = judged.learned < judged.start;
    return {
      ...(adopted ? { weights: learned.weights, biases: learned.biases } : start),
      report: {
        name,
        layers: weights.map((w) => w.layer.node.name),
        error: { fit, ...(heldOut === undefined ? {} : { heldOut }) },
        adopted,
        moved: movedShare(weights, learned.weights),
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

function movedShare(weights: readonly LearnedWeight[], learned: ReadonlyMap<string, SolvedWeight>): number {
  let [moved, all] = [0, 0];
  for (const { layer, start } of weights) {
    const codes = required(learned.get(layer.weight), layer.weight).codes;
    start.codes.forEach((q, i) => (moved += q === codes[i] ? 0 : 1));
    all += codes.length;
  }
  return moved / Math.max(all, 1);
}
