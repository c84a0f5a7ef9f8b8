/** Weights by solvers that look at calibration data: which weights, by which solver, and the answers put together. */
import { FxqError, type Context } from '../core/index.js';
import { openDataSet, type DataSpec } from '../data/index.js';
import { emitQdq } from '../emit/index.js';
import { parseFormat } from '../formats/index.js';
import { feedInputs, storeTensor, withGraph, type Model } from '../onnx/index.js';
import { type Plan, type SolvedWeight } from '../plan/index.js';
import {
  SOLVERS,
  isSolvable,
  parsePattern,
  sparseEligibility,
  type SparseLayers,
  type SparseSolver,
  folderCache,
  gridOf,
  solvableLayers,
  solveWeights,
  type Effort,
  type LayerReport,
  type SolverName,
} from '../solve/index.js';

export interface SolverRequest {
  readonly effort: Effort;
  /** Folder of finished layers; absent to keep none. */
  readonly cache?: string;
  /** N:M pattern of the layers that can take one, and how the kept weights are chosen. */
  readonly sparsity?: { readonly pattern: string; readonly method: SparseSolver };
}

export interface LayerSolutions {
  /** The model with corrected biases. */
  readonly model: Model;
  readonly weights: ReadonlyMap<string, SolvedWeight>;
  readonly reports: readonly LayerReport[];
  /** Layers that keep the pattern. */
  readonly sparse?: SparseLayers;
}

/** At 8 bits nearest rounding is as good as anything; below, errors of the output can be traded against each other. */
export const WORTH_SOLVING = 8;

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
  const sparse = sparseLayers(model, plan, request, ctx);
  const layers = solvableLayers(
    model.graph,
    plan,
    (weight, node) => sparse?.nodes.has(node) === true || solver(weight) in SOLVERS,
  );
  if (layers.length === 0) return { model, weights: nearest, reports: [] };
  if (spec === undefined) {
    throw new FxqError(
      'E_USAGE',
      `solver ${solver(layers[0]?.weight ?? '')} looks at what layers see, which needs data`,
      ['Give --data PATH, also beside --calibration.', 'Without data, use --solver nearest.'],
    );
  }
  const data = await openDataSet(spec, feedInputs(model.graph), { ...ctx, note: () => undefined });
  const solved = await solveWeights(
    model,
    withFloatWeights(model, plan),
    plan,
    layers,
    (weight) => solver(weight) as SolverName,
    data,
    {
      effort: request.effort,
      ...(request.cache === undefined ? {} : { cache: folderCache(request.cache) }),
      ...(sparse === undefined ? {} : { sparse }),
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
    ...(sparse === undefined ? {} : { sparse }),
  };
}

/** Eligible layers of the plan; what stays dense is noted with its reasons. */
function sparseLayers(
  model: Model,
  plan: Plan,
  { sparsity }: SolverRequest,
  ctx: Context,
): SparseLayers | undefined {
  if (sparsity === undefined) return undefined;
  const pattern = parsePattern(sparsity.pattern);
  const all = sparseEligibility(model.graph, pattern);
  const isPlanned = (weight: string): boolean => {
    const format = plan.weights[weight]?.format;
    return format !== undefined && isSolvable(parseFormat(format));
  };
  const nodes = all.flatMap((e) => (e.layer !== undefined && isPlanned(e.layer.weight) ? [e.node] : []));
  if (nodes.length === 0) {
    const reasons = [
      ...new Set(all.map((e) => `${e.node}: ${e.why ?? 'its weight is not quantized to integers'}`)),
    ];
    throw new FxqError('E_UNSUPPORTED', `no layer can be ${sparsity.pattern} sparse`, reasons.slice(0, 5));
  }
  const dense = all.flatMap((e) => (e.why === undefined ? [] : [`${e.node} (${e.why})`]));
  if (dense.length > 0)
    ctx.note({
      level: 'info',
      code: 'dense',
      message: `${nodes.length} layers become ${sparsity.pattern} sparse; dense stay ${dense.join(', ')}`,
    });
  return { nodes: new Set(nodes), pattern, method: sparsity.method };
}

/** The solver of a weight once `auto` is settled. */
function solverOf(plan: Plan, weight: string, hasData: boolean): string {
  const quantization = plan.weights[weight];
  if (quantization === undefined) return 'nearest';
  const { solver, format } = quantization;
  if (solver === 'auto') return hasData && parseFormat(format).bits < WORTH_SOLVING ? 'descent' : 'nearest';
  if (solver in SOLVERS) gridOf(format);
  return solver;
}

/** What layers see when the activations before them are quantized and no weight is. */
function withFloatWeights(model: Model, plan: Plan): Model {
  const nodes = Object.entries(plan.nodes).map(([name, node]) => {
    const { bias: _bias, ...rest } = node;
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
