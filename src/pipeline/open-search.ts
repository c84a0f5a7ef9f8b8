/** The first half of a search: model, statistics and data opened, and the study that sensitivities are asked about. */
import { type RangeSettings, type Statistics } from '../calibrate/index.js';
import { FxqError, type Context } from '../core/index.js';
import { openDataSet, type DataSet, type DataSpec } from '../data/index.js';
import { opsetForSettings } from '../emit/index.js';
import { type FitMethod } from '../formats/index.js';
import { feedInputs, type Graph } from '../onnx/index.js';
import {
  matchRules,
  checkTensorRules,
  planQuantization,
  valuesToCalibrate,
  type NodeRule,
  type PlanSettings,
} from '../plan/index.js';
import { GRADIENT_OPSET } from '../program/index.js';
import {
  openCache,
  openStudy,
  type Budget,
  type CandidateAxes,
  type CostName,
  type Hardware,
  type OpenStudy,
} from '../search/index.js';
import { statisticsFrom, valuesOfAnyPlan } from './calibrate.js';
import { loadModel, type LoadedModel } from './load-model.js';
import { shareSamples } from './share-samples.js';

/** What the study of a model depends on. */
export interface StudyRequest {
  readonly model: string;
  readonly data: DataSpec;
  readonly plan: PlanSettings;
  readonly ranges: RangeSettings;
  readonly weightRange: FitMethod;
  readonly axes: CandidateAxes;
  readonly hardware: Hardware;
  /** Upper limits; the first cost is what the front trades against the loss. */
  readonly budgets: readonly Budget[];
  /** Samples that sensitivities are measured on, at most. */
  readonly samples: number;
  /** Folder of finished measurements. */
  readonly cache?: string;
}

export interface OpenSearch extends OpenStudy {
  readonly loaded: LoadedModel;
  readonly statistics: Statistics;
  /** Samples that models on trial are judged on. */
  readonly judged: DataSet;
  /** Samples that their weights are fitted to. */
  readonly fitSpec: DataSpec;
}

const BATCH = 32;

/** Loads, calibrates, and opens the study. */
export async function openSearch(request: StudyRequest, ctx: Context): Promise<OpenSearch> {
  const settings = { ...request.plan, nodes: [...request.plan.nodes, ...widestFormats(request.axes)] };
  const loaded = await loadDifferentiable(request.model, opsetForSettings(settings), ctx);
  for (const note of loaded.notes) ctx.note(note);
  checkTensorRules(loaded.model.graph, request.plan.tensors);
  const skeleton = planQuantization(loaded.model, loaded.types, request.plan);
  const source = { kind: 'data', spec: request.data } as const;
  // A value that shares its parameters in one assignment has its own in another.
  const values = new Set([...valuesToCalibrate(skeleton), ...valuesOfAnyPlan(loaded)]);
  const statistics = await statisticsFrom(loaded, source, [...values], ctx);
  const quiet = { ...ctx, note: () => undefined };
  const whole = await openDataSet(request.data, feedInputs(loaded.model.graph), quiet);
  // Random numbers are all alike.
  const { study, judged, fit } =
    request.data.kind === 'random'
      ? { study: whole, judged: whole, fit: whole }
      : shareSamples(whole, request.samples, ctx);
  const open = await openStudy(
    {
      plan: request.plan,
      ranges: request.ranges,
      weightRange: request.weightRange,
      axes: request.axes,
      perLayer: fixedAxes(loaded.model.graph, request),
      hardware: request.hardware,
      model: loaded.model,
      types: loaded.types,
      data: study,
      fitData: fit,
      statistics,
      costs: costsOf(request.budgets),
      batch: BATCH,
      ...(request.cache === undefined ? {} : { cache: openCache(request.cache) }),
    },
    ctx,
  );
  const { samples: _samples, ...spec } = request.data;
  const fitSpec = fit === whole ? request.data : { ...spec, only: fit.rows };
  return { ...open, loaded, statistics, judged, fitSpec };
}

/** The model at an opset that has gradients, or at the one formats need where it cannot be raised so far. */
async function loadDifferentiable(path: string, opset: number, ctx: Context): Promise<LoadedModel> {
  try {
    return await loadModel(path, Math.max(opset, GRADIENT_OPSET), ctx);
  } catch (error) {
    // Measured losses do without gradients; whatever needs them says so.
    if (!(error instanceof FxqError) || error.code !== 'E_OPSET') throw error;
    return loadModel(path, opset, ctx);
  }
}

/** Layers whose rules fix formats have no choice there. */
function fixedAxes(graph: Graph, { plan, axes }: StudyRequest): Record<string, CandidateAxes> {
  const rules = matchRules(graph, plan.nodes);
  return Object.fromEntries(
    graph.nodes.flatMap((node): [string, CandidateAxes][] => {
      const own = rules.get(node) ?? [];
      if (own.length === 0) return [];
      const last = <T>(of: (rule: NodeRule) => T | undefined): readonly T[] | undefined => {
        const value = own.map(of).findLast((v) => v !== undefined);
        return value === undefined ? undefined : [value];
      };
      return [
        [
          node.name,
          {
            ...axes,
            weights: last((r) => r.weights) ?? axes.weights,
            activations: last((r) => r.activations) ?? axes.activations,
            granularity: last((r) => r.granularity) ?? axes.granularity,
            sparsity:
              last((r) => (typeof r.sparsity === 'object' ? r.sparsity.pattern : r.sparsity)) ??
              axes.sparsity,
            solvers: last((r) => r.solver) ?? axes.solvers,
          },
        ],
      ];
    }),
  );
}

/** Costs to count: those with budgets, and size and bit operations always. */
function costsOf(budgets: readonly Budget[]): CostName[] {
  return [...new Set<CostName>([...budgets.map((b) => b.cost), 'size', 'bops'])];
}

/** Rules that match nothing in particular but make the model's opset high enough for every candidate. */
function widestFormats({ weights, activations, granularity }: CandidateAxes): PlanSettings['nodes'] {
  const match = { node: '/.*/' };
  return [
    ...weights.map((format) => ({ match, weights: format })),
    ...activations.map((format) => ({ match, activations: format })),
    ...granularity.map((kind) => ({ match, granularity: kind })),
  ];
}
