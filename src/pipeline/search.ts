/** Mixed precision as a program: sensitivities, exact allocation under budgets, the Pareto front, real runs of its points. */
import { hashModel, type RangeSettings } from '../calibrate/index.js';
import { checkAbort, required, type Context } from '../core/index.js';
import { openDataSet, type DataSpec } from '../data/index.js';
import { opsetForSettings } from '../emit/index.js';
import { type FitMethod } from '../formats/index.js';
import { feedInputs, withGraph } from '../onnx/index.js';
import { planQuantization, valuesToCalibrate, type PlanSettings } from '../plan/index.js';
import {
  FLOAT_FORMATS,
  INT8_FORMATS,
  SENSITIVITIES,
  allocate,
  allocationGroups,
  assignmentOf,
  candidatesOf,
  cheapestWithin,
  convexFront,
  limitsOf,
  openCache,
  openStudy,
  outputsOf,
  paretoPoint,
  sampleLosses,
  simulate,
  totalsAt,
  writePareto,
  type Allocation,
  type Assignment,
  type Budget,
  type CandidateAxes,
  type CostName,
  type Hardware,
  type OpenStudy,
  type ParetoFile,
  type ParetoPoint,
  type Realization,
  type SensitivityName,
} from '../search/index.js';
import { statisticsFrom } from './calibrate.js';
import { loadModel } from './load-model.js';

export interface SearchRequest {
  readonly model: string;
  readonly data: DataSpec;
  /** Where the Pareto file goes. */
  readonly out: string;
  readonly plan: PlanSettings;
  readonly ranges: RangeSettings;
  readonly weightRange: FitMethod;
  readonly axes: CandidateAxes;
  readonly sensitivity: SensitivityName;
  readonly hardware: Hardware;
  /** Upper limits; the first cost is what the front trades against the loss. */
  readonly budgets: readonly Budget[];
  /** Greatest loss allowed; the cheapest assignment within it becomes a point. */
  readonly maxLoss?: number;
  /** Samples that sensitivities are measured on, at most. */
  readonly samples: number;
  /** Folder of finished measurements. */
  readonly cache?: string;
}

const BATCH = 32;
/** Points of the front that are run for real. */
const MEASURED_POINTS = 8;
/** Cheaper neighbours tried after the bisection for a loss. */
const SLACK = 2;

/**
 * Searches and writes the Pareto file.
 *
 * @throws FxqError E_BUDGET (exit status 1) when no assignment keeps the budgets or the loss
 */
export async function search(request: SearchRequest, ctx: Context): Promise<ParetoFile> {
  const settings = { ...request.plan, nodes: [...request.plan.nodes, ...widestFormats(request.axes)] };
  const loaded = await loadModel(request.model, opsetForSettings(settings), ctx);
  for (const note of loaded.notes) ctx.note(note);
  const skeleton = planQuantization(loaded.model, loaded.types, request.plan);
  const source = { kind: 'data', spec: request.data } as const;
  const statistics = await statisticsFrom(loaded, source, valuesToCalibrate(skeleton), ctx);
  const spec = {
    ...request.data,
    ...(request.data.samples === undefined ? { samples: request.samples } : {}),
  };
  const data = await openDataSet(spec, feedInputs(loaded.model.graph), { ...ctx, note: () => undefined });
  const costs = costsOf(request);
  const open = await openStudy(
    {
      plan: request.plan,
      ranges: request.ranges,
      weightRange: request.weightRange,
      axes: request.axes,
      hardware: request.hardware,
      model: loaded.model,
      types: loaded.types,
      data,
      statistics,
      costs,
      batch: BATCH,
      ...(request.cache === undefined ? {} : { cache: openCache(request.cache) }),
    },
    ctx,
  );
  const sensitivity = await SENSITIVITIES[request.sensitivity](open.study, ctx);
  const groups = allocationGroups(open.space, sensitivity);
  const limits = limitsOf(open.space, request.budgets);
  const against = required(costs[0], 'a cost');
  const front = convexFront(groups, 'loss', against);
  const judge = createJudge(open, ctx);
  const points: ParetoPoint[] = [];
  const candidates = candidatesOf(open.space);
  const add = async (name: string, allocation: Allocation): Promise<void> => {
    checkAbort(ctx);
    const measured = await judge(assignmentOf(open.space, allocation.choice));
    points.push(paretoPoint(name, open.space, candidates, { ...allocation, measured }));
  };
  const progress = ctx.start('Running points of the front', MEASURED_POINTS);
  for (const [i, allocation] of spread(front, MEASURED_POINTS).entries()) {
    await add(`p${i}`, allocation);
    progress.update(i + 1);
  }
  progress.finish();
  if (limits.length > 0) await add('budget', allocate({ groups, minimize: 'loss', limits }));
  if (request.maxLoss !== undefined)
    await add('floor', await cheapestWithin(open.space, front, request.maxLoss, judge, SLACK, ctx));
  const file: ParetoFile = {
    version: 1,
    model: hashModel(loaded.source),
    data: statistics.dataHash,
    loss: open.study.loss,
    sensitivity: sensitivity.method,
    hardware: request.hardware.name,
    references: { float: totalsAt(open.space, FLOAT_FORMATS), int8: totalsAt(open.space, INT8_FORMATS) },
    candidates,
    points,
  };
  writePareto(request.out, file);
  return file;
}

/** Costs to count: those with budgets, and size and bit operations always. */
function costsOf({ budgets }: SearchRequest): CostName[] {
  return [...new Set<CostName>([...budgets.map((b) => b.cost), 'size', 'bops'])];
}

/** Rules that match nothing in particular but make the model's opset high enough for every candidate. */
function widestFormats({ weights, activations }: CandidateAxes): PlanSettings['nodes'] {
  const match = { node: '/.*/' };
  return [
    ...weights.map((format) => ({ match, weights: format })),
    ...activations.map((format) => ({ match, activations: format })),
  ];
}

/** Up to `count` points of a front, both ends among them. */
function spread<T>(front: readonly T[], count: number): T[] {
  if (front.length <= count) return [...front];
  const at = (i: number): number => Math.round((i * (front.length - 1)) / (count - 1));
  return Array.from({ length: count }, (_, i) => required(front[at(i)], 'a point'));
}

/** Mean loss of a whole assignment in a real run, once for each assignment. */
function createJudge({ study, space }: OpenStudy, ctx: Context): (assignment: Assignment) => Promise<number> {
  const layers = space.groups.flatMap((g) => g.layers);
  return async (assignment) => {
    const fixed = new Map<string, Realization>();
    for (const layer of layers) {
      const candidate = required(assignment.get(layer.node), layer.node);
      fixed.set(layer.node, await study.realize(layer, candidate));
    }
    const model = withGraph(study.model, simulate(study.model.graph, layers, fixed));
    const outputs = await outputsOf(model, study.batches, study.output, ctx);
    const losses = outputs.flatMap((actual, i) =>
      Array.from(sampleLosses(study.loss, required(study.reference[i], 'a reference'), actual)),
    );
    return losses.reduce((a, b) => a + b, 0) / losses.length;
  };
}
