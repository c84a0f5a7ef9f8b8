/** Mixed precision as a program: sensitivities, exact allocation under budgets, the Pareto front, real runs of its points. */
import { hashModel } from '../calibrate/index.js';
import { FxqError, checkAbort, checkOutputs, required, writeOutput, type Context } from '../core/index.js';
import { paretoHtml } from '../report/index.js';
import {
  FLOAT_FORMATS,
  INT8_FORMATS,
  NO_CACHE,
  SENSITIVITIES,
  allocate,
  allocationGroups,
  assignmentOf,
  candidatesOf,
  cheapestWithin,
  compareSensitivities,
  convexFront,
  estimateSensitivities,
  explain,
  keepsLimits,
  limitsOf,
  openCache,
  paretoPoint,
  totalsAt,
  writePareto,
  type Allocation,
  type Assignment,
  type Judge,
  type Limit,
  type ParetoFile,
  type ParetoPoint,
  type SensitivityName,
  type Verified,
} from '../search/index.js';
import { contestTables, contestWithin, type Contest } from './contest.js';
import { withLatencies } from './latency-table.js';
import { openMetricDrop, type DropRequest } from './metric-drop.js';
import { openSearch } from './open-search.js';
import { simulatedLoss } from './simulated-loss.js';
import { writtenLoss } from './written-loss.js';
import { pointWriter, trialWriter, type WritingRequest } from './written-points.js';

export interface SearchRequest extends WritingRequest {
  readonly sensitivity: SensitivityName;
  /** Greatest loss allowed; the cheapest assignment within it becomes the point `floor`. */
  readonly maxLoss?: number;
  /** Greatest drop of a metric allowed; the cheapest assignment within it becomes the point `drop`. */
  readonly maxDrop?: DropRequest;
  /** Writes no files. */
  readonly dryRun?: boolean;
}

/** Points of the front that are run for real. */
const MEASURED_POINTS = 8;
/** Points of the front among which the cheapest within a floor is sought. */
const FLOOR_POINTS = 48;
/** Cheaper neighbours tried after the bisection for a loss. */
const SLACK = 2;
/**
 * Added to a measured drop before it is compared with its limit: the cheapest of several assignments that pass is likely
 * to be one that was lucky on these samples, and one standard error does not make up for that (bench/max-drop).
 */
const STANDARD_ERRORS = 2;

/** An assignment for a point, with more where several competed. */
type Found = Allocation & Partial<Pick<Contest, 'groups' | 'written' | 'contest'>>;

/**
 * Searches and writes the Pareto file.
 *
 * @throws FxqError E_BUDGET (exit status 1) when no assignment keeps the budgets or the loss
 */
export async function search(request: SearchRequest, ctx: Context): Promise<ParetoFile> {
  checkOutputs(
    [request.out, chartPath(request.out)],
    [
      ['the float model', request.model],
      ['the calibration data', request.data.path],
      ['the labels', request.maxDrop?.labels],
    ],
  );
  const opened = await openSearch(request, ctx);
  const cache = request.cache === undefined ? NO_CACHE : openCache(request.cache);
  const open = { ...opened, space: await withLatencies(opened, request.plan, cache, ctx) };
  const sensitivity = await SENSITIVITIES[request.sensitivity](open.study, ctx);
  const others = sensitivity.method === 'measured' ? await estimateSensitivities(open.study, ctx) : [];
  const groups = allocationGroups(open.space, sensitivity);
  const limits = limitsOf(open.space, request.budgets);
  const against = required(open.space.costs[0], 'a cost');
  const front = convexFront(groups, 'loss', against);
  const simulated = simulatedLoss(open, ctx);
  const write = pointWriter(request, open, ctx);
  const written = writtenLoss(trialWriter(request, open, ctx), open, ctx);
  const lossOf: Judge = async (assignment) => (await written(assignment)).loss;
  const points: ParetoPoint[] = [];
  const candidates = candidatesOf(open.space);
  const progress = ctx.start('Running points of the front', MEASURED_POINTS);
  for (const [i, allocation] of spread(front, MEASURED_POINTS).entries()) {
    checkAbort(ctx);
    const measured = await simulated(assignmentOf(open.space, allocation.choice));
    points.push(paretoPoint(`p${i}`, open.space, candidates, { ...allocation, measured }));
    progress.update(i + 1);
  }
  progress.finish();
  const failures: FxqError[] = [];
  const add = async (
    name: string,
    find: () => Promise<Found>,
    more: (assignment: Assignment) => Promise<Partial<ParetoPoint>> = () => Promise.resolve({}),
  ): Promise<void> => {
    checkAbort(ctx);
    try {
      const { groups: by = groups, contest, ...allocation } = await find();
      const assignment = assignmentOf(open.space, allocation.choice);
      const problem = { groups: by, minimize: 'loss', limits: limitsAround(allocation, limits, against) };
      points.push({
        ...paretoPoint(name, open.space, candidates, {
          ...allocation,
          measured: await simulated(assignment),
          written: allocation.written ?? (await lossOf(assignment)),
        }),
        ...(contest === undefined ? {} : { contest }),
        ...(await more(assignment)),
        explanations: explain(problem, { ...allocate(problem), ...allocation }),
      });
    } catch (error) {
      if (!(error instanceof FxqError) || error.code !== 'E_BUDGET') throw error;
      failures.push(error);
    }
  };
  const { maxLoss, maxDrop } = request;
  const affordable = spread(
    front.filter((allocation) => keepsLimits({ groups, minimize: 'loss', limits }, allocation)),
    FLOOR_POINTS,
  );
  const cheapest = (floor: number, judge: Judge, what: string): Promise<Verified> =>
    cheapestWithin(open.space, affordable, floor, judge, SLACK, ctx, what);
  if (limits.length > 0) {
    const tables = contestTables(open.space, sensitivity, others);
    await add('budget', () => contestWithin(open, tables, limits, written, ctx));
  }
  if (maxLoss !== undefined) await add('floor', () => cheapest(maxLoss, lossOf, 'the loss'));
  if (maxDrop !== undefined) {
    const drop = await openMetricDrop(maxDrop, open.loaded.source, ctx);
    const judge: Judge = async (assignment) => {
      const { value, error } = await drop(await write(assignment));
      return value + STANDARD_ERRORS * error;
    };
    await add(
      'drop',
      () =>
        cheapest(
          maxDrop.max,
          judge,
          `the drop of ${maxDrop.metric}, with ${STANDARD_ERRORS} standard errors,`,
        ),
      async (assignment) => ({ drop: { metric: maxDrop.metric, ...(await drop(await write(assignment))) } }),
    );
  }
  const file: ParetoFile = {
    version: 1,
    model: hashModel(open.loaded.source),
    data: open.statistics.dataHash,
    loss: open.study.loss,
    sensitivity: sensitivity.method,
    hardware: request.hardware.name,
    results: request.plan.activations,
    references: { float: totalsAt(open.space, FLOAT_FORMATS), int8: totalsAt(open.space, INT8_FORMATS) },
    candidates,
    layers: Object.fromEntries(
      groups.map(({ name, candidates: all }) => [
        name,
        Object.fromEntries(all.map(({ id, amounts }) => [id, amounts])),
      ]),
    ),
    points,
    ...(others.length === 0 ? {} : { sensitivities: compareSensitivities(sensitivity, others) }),
  };
  if (request.dryRun !== true) {
    writePareto(request.out, file);
    writeOutput(chartPath(request.out), [paretoHtml(file)]);
  }
  const [failure] = failures;
  if (failure !== undefined) throw failure;
  return file;
}

/** `model.pareto.json` → `model.pareto.html`. */
export function chartPath(pareto: string): string {
  return `${pareto.replace(/\.json$/, '')}.html`;
}

/** The limits that an allocation is explained against: the budgets, or what it costs itself. */
function limitsAround({ totals }: Allocation, limits: readonly Limit[], against: string): readonly Limit[] {
  return limits.length > 0 ? limits : [{ amount: against, max: required(totals[against], against) }];
}

/** Up to `count` points of a front, both ends among them. */
function spread<T>(front: readonly T[], count: number): T[] {
  if (front.length <= count) return [...front];
  const at = (i: number): number => Math.round((i * (front.length - 1)) / (count - 1));
  return Array.from({ length: count }, (_, i) => required(front[at(i)], 'a point'));
}
