/** Weights by solvers that look at calibration data: which weights, by which solver, and the answers put together. */
import { FxqError, type Context } from '../core/index.js';
import { openDataSet, type DataSpec } from '../data/index.js';
import { emitQdq } from '../emit/index.js';
import { feedInputs, storeTensor, withGraph, type Model } from '../onnx/index.js';
import { type Plan, type SolvedWeight, type Sparsity } from '../plan/index.js';
import {
  FAST_MOMENTS,
  autoSolver,
  checkSolver,
  blockOptions,
  isSolverName,
  withRoundedWeights,
  type BlockOptions,
  type DistillSettings,
  type SparseLayers,
  folderCache,
  solvableLayers,
  solveWeights,
  type Effort,
  type LayerReport,
  type SolverName,
} from '../solve/index.js';
import { sparseLayers } from './sparse-layers.js';

export interface SolverRequest {
  readonly effort: Effort;
  /** Folder of finished layers; absent to keep none. */
  readonly cache?: string;
  /** Solvers weigh errors by the gradient of the network's output. */
  readonly importance?: boolean;
  /** Settings of the block solver, beside those that follow from the effort. */
  readonly block?: Partial<BlockOptions>;
  /** Pattern of all layers that can take one and have no rule of their own. */
  readonly sparsity?: Sparsity;
  /** Lets the solved network learn from the float one; settings left out follow from the effort. */
  readonly distill?: Partial<DistillSettings>;
}

export interface LayerSolutions {
  /** The model with corrected biases. */
  readonly model: Model;
  readonly weights: ReadonlyMap<string, SolvedWeight>;
  readonly reports: readonly LayerReport[];
  /** Layers that keep the pattern. */
  readonly sparse: SparseLayers;
}

/**
 * Replaces weights rounded to nearest by solved ones where the plan asks for a solver.
 *
 * @param nearest all weights rounded to nearest
 * @param spec    calibration data
 * @throws FxqError E_USAGE when a solver is asked for and there are no data, E_FORMAT for a format it cannot choose in
 */
export async function solveLayers(
  model: Model,
  plan: Plan,
  nearest: ReadonlyMap<string, SolvedWeight>,
  spec: DataSpec | undefined,
  request: SolverRequest,
  ctx: Context,
): Promise<LayerSolutions> {
  const solver = (weight: string): string => solverOf(plan, weight, spec !== undefined);
  const sparse = sparseLayers(model, plan, request.sparsity, ctx);
  const layers = solvableLayers(
    model.graph,
    plan,
    (weight, node) => sparse.has(node) || isSolverName(solver(weight)),
  );
  if (layers.length === 0 && request.importance === true)
    throw new FxqError(
      'E_USAGE',
      'importance weighs errors for solvers, but all weights are rounded to nearest',
      'Give --solver descent (or another), or leave out --importance.',
    );
  if (layers.length === 0) return { model, weights: nearest, reports: [], sparse };
  if (spec === undefined) {
    throw new FxqError(
      'E_USAGE',
      `solver ${solver(layers[0]?.weight ?? '')} looks at what layers see, which needs data`,
      ['Give --data PATH, also beside --calibration.', 'Without data, use --solver nearest.'],
    );
  }
  // Blocks are learned from samples themselves, so they keep all of them.
  const isPart = request.effort === 'fast' && !layers.some((l) => solver(l.weight) === 'block');
  const seen = isPart ? partOf(spec) : spec;
  const data = await openDataSet(seen, feedInputs(model.graph), { ...ctx, note: () => undefined });
  const names = new Set(layers.map((l) => l.weight));
  const solved = await solveWeights(
    model,
    withRoundedWeights(withFloatWeights(model, plan), plan, nearest, (weight) => !names.has(weight)),
    plan,
    layers,
    (weight) => solver(weight) as SolverName,
    data,
    {
      effort: request.effort,
      importance: request.importance ?? false,
      ...(request.cache === undefined ? {} : { cache: folderCache(request.cache) }),
      sparse,
      blocks: {
        options: blockOptions(request.effort, request.block),
        nearest,
        sparse: new Set(sparse.keys()),
      },
    },
    ctx,
  );
  noteResult(solved.reports, ctx);
  const initializers = new Map(model.graph.initializers);
  for (const [name, t] of solved.biases) initializers.set(name, storeTensor(t));
  return {
    model: withGraph(model, { ...model.graph, initializers }),
    weights: new Map([...nearest, ...solved.weights]),
    reports: solved.reports,
    sparse,
  };
}

/** The samples that `fast` looks at, drawn by the run's seed; sequences stay whole. */
function partOf(spec: DataSpec): DataSpec {
  const isSequence = Object.values(spec.inputs ?? {}).some((input) => input.recurrent !== undefined);
  const most = Math.min(spec.samples ?? Infinity, FAST_MOMENTS.samples);
  return isSequence ? spec : { ...spec, samples: most };
}

/** The solver of a weight once `auto` is settled. */
export function solverOf(plan: Plan, weight: string, hasData: boolean): string {
  const quantization = plan.weights[weight];
  if (quantization === undefined) return 'nearest';
  const { solver, format } = quantization;
  if (solver === 'auto') return hasData ? autoSolver(format) : 'nearest';
  if (isSolverName(solver)) checkSolver(solver, format);
  return solver;
}

/**
 * What layers see when the activations before them are quantized and no weight is. Nodes that move codes move values
 * instead, which comes to the same and can be differentiated.
 */
export function withFloatWeights(model: Model, plan: Plan): Model {
  const nodes = Object.entries(plan.nodes).map(([name, node]) => {
    const { bias: _bias, onCodes: _onCodes, ...rest } = node;
    const isFloat = node.decision === 'dynamic' || node.decision === 'weights';
    return [name, { ...rest, decision: isFloat ? 'float' : node.decision, weights: {} }] as const;
  });
  return emitQdq(model, { ...plan, weights: {}, nodes: Object.fromEntries(nodes) }, new Map());
}

/** One line on what solving bought, on samples the solvers have not seen. */
function noteResult(reports: readonly LayerReport[], ctx: Context): void {
  const measured = reports.filter((r) => r.error.heldOut !== undefined);
  const mean = (of: (r: LayerReport) => number | undefined): string => {
    const logs = measured.map((r) => Math.log10(Math.max(of(r) ?? 0, 1e-12)));
    return (10 ** (logs.reduce((a, b) => a + b, 0) / Math.max(logs.length, 1))).toExponential(1);
  };
  const kept = reports.filter((r) => r.fellBack).length;
  const errors =
    measured.length === 0
      ? ''
      : `: held-out error ${mean((r) => r.error.heldOutNearest)} → ${mean((r) => r.error.heldOut)} (geometric mean)`;
  const message = `${reports.length} weights solved${errors}${kept === 0 ? '' : `; ${kept} kept nearest, which was no worse`}`;
  ctx.note({ level: 'info', code: 'solved', message });
}
