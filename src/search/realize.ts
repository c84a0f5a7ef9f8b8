/** Candidates as numbers: weights as a solver would leave them, grids of inputs as calibration would choose them. */
import { assignRanges, rangesByLayerError, type RangeSettings, type Statistics } from '../calibrate/index.js';
import { FxqError, assert, required, type Context } from '../core/index.js';
import { NO_CARRY, type Batch } from '../engine/index.js';
import { dequantize as valuesOf, parseFormat, type FitMethod } from '../formats/index.js';
import { loadTensor, type Model, type TensorType } from '../onnx/index.js';
import {
  planQuantization,
  solvedFormat,
  type Granularity,
  type Plan,
  type PlanSettings,
  type WeightQuantization,
} from '../plan/index.js';
import {
  BLOCK_SOLVER,
  SOLVERS,
  SPARSE_SOLVERS,
  checkSolver,
  floatTarget,
  groupingOf,
  isSolverName,
  isSparseSolver,
  layerWeight,
  matrixSize,
  parsePattern,
  patternColumns,
  plainProduct,
  planProblem,
  realWeight,
  reductionOf,
  roundWeight,
  solveSparse,
  toSolvedWeight,
  type Effort,
  type LayerProblem,
  type LayerSolution,
  type LayerSolver,
  type Moments,
  type PlannedProblem,
  type SplitMoments,
  type WeightedLayer,
} from '../solve/index.js';
import { toFloat32 } from '../tensor/index.js';
import { candidateId, type LayerCandidate, type SearchLayer } from './layers.js';
import { type Realize } from './sensitivity/index.js';
import { type ActivationGrid, type Realization } from './simulate.js';

export interface RealizeSettings {
  /** The prepared float model. */
  readonly model: Model;
  readonly types: ReadonlyMap<string, TensorType>;
  /** What candidates do not decide: target, tensor rules, excluded nodes. */
  readonly plan: PlanSettings;
  readonly ranges: RangeSettings;
  /** How scales of weights rounded to nearest are chosen. */
  readonly weightRange: FitMethod;
  /** Needed where a candidate rounds its input. */
  readonly statistics?: Statistics;
  /** Samples that show what layers make of ranges; needed where these choose them (`layer-error`). */
  readonly batches?: readonly Batch[];
  /** Needed where a solver looks at inputs. */
  readonly moments?: ReadonlyMap<WeightedLayer, SplitMoments>;
}

/** Makes each candidate's numbers once and remembers them. */
export function createRealizer(settings: RealizeSettings, ctx: Context): Realize {
  const weights = new Map<string, Promise<WeightValues>>();
  const plans = new Map<string, Promise<Plan>>();
  const planOf = (format: string): Promise<Plan> => {
    const plan = plans.get(format) ?? planFor(settings, format, ctx);
    plans.set(format, plan);
    return plan;
  };
  return async (layer, candidate) => {
    const key = `${layer.layer.weight} ${candidateId({ ...candidate, activations: 'float' })}`;
    const weight = weights.get(key) ?? solveWeight(settings, layer, candidate, ctx);
    weights.set(key, weight);
    const activation = await activationGrid(planOf, layer, candidate.activations);
    return { ...(await weight), ...(activation === undefined ? {} : { activation }) } satisfies Realization;
  };
}

async function activationGrid(
  planOf: (format: string) => Promise<Plan>,
  { layer }: SearchLayer,
  format: string,
): Promise<ActivationGrid | undefined> {
  if (format === 'float' || layer.patches.kind === 'lookup') return undefined;
  const { low, high, integer } = parseFormat(format);
  if (!integer)
    throw new FxqError(
      'E_UNSUPPORTED',
      `a search cannot round activations to ${format}`,
      'Offer integer formats.',
    );
  const plan = await planOf(format);
  const id = plan.nodes[layer.node.name]?.inputs[layer.node.inputs.indexOf(layer.input)];
  const activation = plan.activations[id ?? ''];
  if (activation === undefined) return undefined;
  const scale = required(activation.scale[0], `the scale of ${id}`);
  return { scale, zeroPoint: activation.zeroPoint[0] ?? 0, low, high };
}

/** All activations in one format, with their ranges. */
async function planFor(
  { model, types, plan: settings, statistics, ranges, batches = [] }: RealizeSettings,
  format: string,
  ctx: Context,
): Promise<Plan> {
  assert(statistics !== undefined, 'candidates round activations, but there are no statistics');
  const skeleton = planQuantization(model, types, { ...settings, activations: format });
  const chosen =
    ranges.method === 'layer-error'
      ? await rangesByLayerError(model, skeleton, statistics, batches, NO_CARRY, ctx)
      : skeleton;
  return assignRanges(chosen, statistics, ranges, ctx);
}

type WeightValues = Pick<Realization, 'weight' | 'solved'>;

async function solveWeight(
  settings: RealizeSettings,
  { layer }: SearchLayer,
  candidate: LayerCandidate,
  ctx: Context,
): Promise<WeightValues> {
  const { weights: format, sparsity, solver } = candidate;
  if (format === 'float') return { weight: floatWeight(settings.model, layer) };
  // What quantize leaves to nearest is rounded so here, too.
  const isLookup = layer.patches.kind === 'lookup';
  if (sparsity === undefined && (solver === 'nearest' || isLookup))
    return roundCandidate(settings, layer, candidate);
  const planned = problemOf(settings, layer, candidate);
  const solution = await solve(planned.problem, layer, candidate, ctx);
  return { weight: realWeight(planned, solution), solved: toSolvedWeight(planned, solution) };
}

function solve(
  problem: LayerProblem,
  { layout }: WeightedLayer,
  { sparsity, solver }: LayerCandidate,
  ctx: Context,
): Promise<LayerSolution> {
  if (sparsity !== undefined && isSparseSolver(solver))
    return solveSparse(problem, patternColumns(layout), parsePattern(sparsity), solver);
  // Blocks go on from descent, and need the layers around.
  const alone = solver === BLOCK_SOLVER ? 'descent' : solver;
  if (sparsity === undefined && isLayerSolver(alone)) {
    const rng = ctx.rng.fork(`candidate ${problem.name}`);
    return SOLVERS[alone](problem, EFFORT, { rng, threads: ctx.threads }, plainProduct);
  }
  throw new FxqError(
    'E_USAGE',
    `a search cannot use the solver '${solver}'${sparsity === undefined ? '' : ` with ${sparsity}`}`,
    `Use nearest, ${Object.keys(SOLVERS).join(', ')} for dense weights, ${SPARSE_SOLVERS.join(', ')} for sparse ones.`,
  );
}

/** One pass is enough to tell candidates apart; quantize solves the chosen ones with more. */
const EFFORT: Effort = 'fast';

function floatWeight(model: Model, layer: WeightedLayer): Float32Array {
  return toFloat32(
    loadTensor(required(model.graph.initializers.get(layer.weight), layer.weight), layer.weight),
  );
}

function roundCandidate(
  { model, weightRange }: RealizeSettings,
  layer: WeightedLayer,
  candidate: LayerCandidate,
): WeightValues {
  const stored = required(model.graph.initializers.get(layer.weight), layer.weight);
  const quantization = quantizationOf(layer, candidate);
  const solved = roundWeight(quantization, loadTensor(stored, layer.weight), weightRange);
  const grouping = groupingOf(quantization.granularity, stored.dims);
  return { weight: valuesOf(solvedFormat(quantization, solved), solved, grouping), solved };
}

function quantizationOf(layer: WeightedLayer, candidate: LayerCandidate): WeightQuantization {
  return {
    initializer: layer.weight,
    format: candidate.weights,
    granularity: granularityOf(layer.layout, candidate),
    reduction: reductionOf(layer.layout),
    scale: [],
    zeroPoint: [],
    solver: candidate.solver,
    why: 'candidate',
  };
}

function granularityOf(
  { outAxis, inAxis }: WeightedLayer['layout'],
  { granularity }: LayerCandidate,
): Granularity {
  if (granularity === 'tensor') return { kind: 'tensor' };
  if (granularity === 'channel') return { kind: 'channel', axis: outAxis };
  return { kind: 'block', axis: inAxis, size: granularity.block };
}

function isLayerSolver(name: string): name is LayerSolver {
  return Object.hasOwn(SOLVERS, name);
}

function problemOf(
  { model, moments }: RealizeSettings,
  layer: WeightedLayer,
  candidate: LayerCandidate,
): PlannedProblem {
  const own = moments?.get(layer);
  assert(own !== undefined, `no moments of ${layer.node.name}`);
  const { weights: format, solver } = candidate;
  if (candidate.sparsity === undefined && isSolverName(solver)) checkSolver(solver, format);
  const weight = layerWeight(model.graph, layer);
  const shape = { ...matrixSize(layer.layout), groups: layer.layout.groups, weight };
  const targeted = (m: SplitMoments['fit']): Moments => ({ ...m, target: floatTarget(shape, m) });
  const quantization = quantizationOf(layer, candidate);
  const heldOut = own.heldOut === undefined ? undefined : targeted(own.heldOut);
  return planProblem(model.graph, layer, quantization, { fit: targeted(own.fit), heldOut }, false);
}
