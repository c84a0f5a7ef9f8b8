/** Codes for all weights of a plan that a solver is to choose, from what their layers see on calibration data. */
import { checkAbort, required, type Context } from '../core/index.js';
import { parseFormat } from '../formats/index.js';
import { GraphEditor, storeTensor, type Graph, type Model } from '../onnx/index.js';
import { type Plan, type SolvedWeight } from '../plan/index.js';
import { tensor, type Tensor } from '../tensor/index.js';
import { biasInitializer, correctedBiases } from './bias.js';
import { refineBlocks, type BlockSettings } from './block/refine.js';
import { problemKey, type LayerCache } from './cache.js';
import {
  isPower,
  isSolvable,
  planProblem,
  realWeight,
  toSolvedWeight,
  type PlannedProblem,
} from './layer-problem.js';
import { measureRowWeights } from './importance/row-weights.js';
import { findWeightedLayers, type WeightedLayer } from './layers.js';
import {
  openRunner,
  openRunners,
  solverOf,
  threadCount,
  workOf,
  worthThreads,
  type LayerJob,
  type LayerRunner,
} from './layer-runner.js';
import { collectMoments, FAST_MOMENTS, MOMENTS_DEFAULTS, type LayerData } from './moments/collect.js';
import { readBatches } from './moments/batches.js';
import { type RowWeights } from './moments/patches.js';
import { walkLayers } from './moments/sequential.js';
import { type LayerSolution, type Moments } from './problem.js';
import { patternColumns, type Pattern, type SparseSolver } from './sparsity/index.js';
import { BLOCK_SOLVER, type Effort, type LayerSolver, type SolverName } from './solvers.js';
import { type LayerReport, type SolvedLayers } from './solved.js';

export interface SolveSettings {
  readonly effort: Effort;
  /** Keeps finished layers, so that an interrupted run continues. */
  readonly cache?: LayerCache;
  /** How layers of the block solver are learned. */
  readonly blocks?: BlockSettings;
  readonly sparse?: SparseLayers;
  /** Rows of a layer's moments count by how much the network's output cares about errors there. */
  readonly importance?: boolean;
}

/** Layers that keep an N:M pattern, by node name. */
export type SparseLayers = ReadonlyMap<string, SparseChoice>;

/** A pattern, and how the kept weights are chosen. */
export interface SparseChoice {
  readonly pattern: Pattern;
  readonly method: SparseSolver;
}

/** The layers of a plan that a solver is to work on; weights used more than once are left to rounding. */
export function solvableLayers(
  graph: Graph,
  plan: Plan,
  isWanted: (weight: string, node: string) => boolean,
): WeightedLayer[] {
  const layers = findWeightedLayers(graph);
  const uses = new Map<string, number>();
  for (const { weight } of layers) uses.set(weight, (uses.get(weight) ?? 0) + 1);
  return layers.filter(({ weight, patches, node }) => {
    const quantization = plan.weights[weight];
    const format = quantization && parseFormat(quantization.format);
    return (
      format !== undefined &&
      isWanted(weight, node.name) &&
      uses.get(weight) === 1 &&
      patches.kind !== 'lookup' &&
      (isSolvable(format) || isPower(format))
    );
  });
}

/**
 * Solves layers in one pass (`fast`, and models with recurrent inputs) or front to back, each seeing what the quantized
 * layers before it hand on.
 *
 * @param model     prepared float model
 * @param simulated the same nodes with activations quantized as the plan says and float weights
 * @param solver    name of the solver of each weight; sparse layers go to their own method
 */
export async function solveWeights(
  model: Model,
  simulated: Model,
  plan: Plan,
  layers: readonly WeightedLayer[],
  solver: (weight: string) => SolverName,
  data: LayerData,
  settings: SolveSettings,
  ctx: Context,
): Promise<SolvedLayers> {
  // What a recurrent input carries from sample to sample cannot be handed from layer to layer.
  const onePass = settings.effort === 'fast' || data.carry.size > 0;
  const rowsOf =
    settings.importance === true
      ? await measureRowWeights(
          model,
          layers,
          data,
          settings.effort === 'fast' ? FAST_MOMENTS : MOMENTS_DEFAULTS,
          ctx,
        )
      : undefined;
  const solveAll = async (part: readonly WeightedLayer[], atOnce: boolean): Promise<SolvedLayers> => {
    // Front to back, a layer waits for the one before.
    const threads = threadCount(ctx.threads);
    const isSpread = atOnce && worthThreads(part, threads);
    const runner = isSpread ? await openRunners(threads) : await openRunner(ctx.threads);
    const collector = createCollector(model, plan, solver, settings, runner, ctx);
    try {
      if (atOnce) await solveOnePass(model, part, data, collector, settings.effort, rowsOf, ctx);
      else await solveFrontToBack(model, simulated, part, data, collector, rowsOf, ctx);
    } finally {
      await runner.close();
    }
    return collector.result();
  };
  const solved = await solveAll(layers, onePass);
  const learned = layers.filter((l) => solver(l.weight) === BLOCK_SOLVER);
  if (learned.length === 0 || settings.blocks === undefined) return solved;
  // What layers aim at front to back can mislead where activations are coarse; blocks start from what does better.
  const others = onePass ? [] : [await solveAll(learned, true)];
  const blocks = { ...settings.blocks, ...(settings.cache === undefined ? {} : { cache: settings.cache }) };
  return refineBlocks(model, simulated, plan, learned, [solved, ...others], data, blocks, ctx);
}

interface Collector {
  /** Layers that may be solved at once. */
  readonly lanes: number;
  /** Solves one layer; returns what to put in place of its weight and bias. */
  solve(layer: WeightedLayer, fit: Moments, heldOut: Moments | undefined): Promise<Graph['initializers']>;
  result(): SolvedLayers;
}

function createCollector(
  model: Model,
  plan: Plan,
  solver: (weight: string) => SolverName,
  { effort, cache, sparse }: SolveSettings,
  runner: LayerRunner,
  ctx: Context,
): Collector {
  const { graph } = model;
  const editor = new GraphEditor(graph);
  const originals = new Map(findWeightedLayers(graph).map((l) => [l.node.name, l]));
  const weights = new Map<string, SolvedWeight>();
  const biases = new Map<string, Tensor>();
  const reports = new Map<string, LayerReport>();
  const run = async ({ problem, layer }: PlannedProblem, name: LayerSolver): Promise<LayerSolution> => {
    const choice = sparse?.get(layer.node.name);
    const job: LayerJob = {
      problem,
      solver: name,
      ...(choice === undefined ? {} : { sparse: { ...choice, columns: patternColumns(layer.layout) } }),
      effort,
      seed: ctx.seed,
    };
    const key = cache === undefined ? '' : problemKey(problem, solverOf(job), effort, ctx.seed);
    const known = cache?.get(key);
    if (known !== undefined) return known;
    const solution = await runner.solve(job);
    cache?.set(key, solution);
    return solution;
  };
  return {
    lanes: runner.lanes,
    async solve(seen, fit, heldOut) {
      checkAbort(ctx);
      // The walk's graph has other names around the layer; weight and bias are those of the float model.
      const layer = required(originals.get(seen.node.name), `layer ${seen.node.name}`);
      const bias = biasInitializer(editor, layer);
      const quantization = required(plan.weights[layer.weight], layer.weight);
      const planned = planProblem(graph, layer, quantization, { fit, heldOut }, bias !== undefined);
      const wanted = solver(layer.weight);
      // Blocks are learned in a second walk; this is where they start.
      const solution = await run(planned, wanted === BLOCK_SOLVER ? 'descent' : wanted);
      weights.set(layer.weight, toSolvedWeight(planned, solution));
      const { error, fellBack, exponent } = solution;
      reports.set(layer.node.name, {
        weight: layer.weight,
        node: layer.node.name,
        solver: solution.solver,
        error,
        fellBack,
        ...(exponent === undefined ? {} : { exponent }),
      });
      const placed = new Map([
        [seen.weight, storeTensor(tensor('float32', layer.layout.dims, realWeight(planned, solution)))],
      ]);
      if (bias !== undefined && solution.biasCorrection !== undefined) {
        for (const [name, t] of correctedBiases(graph, new Map([[bias, solution.biasCorrection]]))) {
          biases.set(name, t);
          placed.set(name, storeTensor(t));
        }
      }
      return placed;
    },
    // In the order of the graph, whichever was finished first.
    result: () => ({
      weights: new Map([...originals.values()].flatMap(({ weight: w }) => entryOf(weights, w))),
      biases: new Map([...graph.initializers.keys()].flatMap((name) => entryOf(biases, name))),
      reports: [...originals.keys()].flatMap((node) => reports.get(node) ?? []),
    }),
  };
}

function entryOf<T>(map: ReadonlyMap<string, T>, key: string): [string, T][] {
  const found = map.get(key);
  return found === undefined ? [] : [[key, found]];
}

async function solveOnePass(
  model: Model,
  layers: readonly WeightedLayer[],
  data: LayerData,
  collector: Collector,
  effort: Effort,
  rowWeights: RowWeights | undefined,
  ctx: Context,
): Promise<void> {
  const options = { ...(effort === 'fast' ? FAST_MOMENTS : {}), rowWeights };
  const moments = await collectMoments(model, layers, data, ctx, options);
  const progress = ctx.start('Rounding layers', layers.length);
  // Large ones first, so that all threads end at about the same time.
  const waiting = [...layers].sort((a, b) => workOf(b) - workOf(a));
  let done = 0;
  const lane = async (): Promise<void> => {
    for (let layer = waiting.shift(); layer !== undefined; layer = waiting.shift()) {
      const { fit, heldOut } = required(moments.get(layer), layer.weight);
      await collector.solve(layer, fit, heldOut);
      progress.update(++done, layer.node.name);
    }
  };
  await Promise.all(Array.from({ length: collector.lanes }, lane));
  progress.finish();
}

async function solveFrontToBack(
  model: Model,
  simulated: Model,
  layers: readonly WeightedLayer[],
  data: LayerData,
  collector: Collector,
  rowWeights: RowWeights | undefined,
  ctx: Context,
): Promise<void> {
  const { rowsPerColumn } = MOMENTS_DEFAULTS;
  const { batches, fitBatches } = await readBatches(data);
  const names = new Set(layers.map((l) => l.node.name));
  const options = { rowsPerColumn, fitBatches, absorbSkipError: true, rowWeights };
  await walkLayers(model, simulated, names, batches, options, ctx, (seen) =>
    collector.solve(seen.layer, seen.fit, seen.heldOut),
  );
}
