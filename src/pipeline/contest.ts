/**
 * The best assignment under budgets: what every sensitivity thinks best and the best uniform one, written and run.
 *
 * A loss measured layer by layer on weights solved side by side may rank assignments otherwise than the written model,
 * whose layers make up for the errors of those before, and a correction may follow the noise of few samples. No estimate
 * is right on every model, so the models decide.
 */
import { checkAbort, required, type Context } from '../core/index.js';
import {
  allocate,
  allocationGroups,
  assignmentOf,
  bestBeyondChance,
  combineLosses,
  uniformWithin,
  type Allocation,
  type Contender,
  type ContestResult,
  type Assignment,
  type Group,
  type Limit,
  type MissingSensitivity,
  type LossBySample,
  type SearchSpace,
  type Sensitivity,
} from '../search/index.js';
import { bestWithin } from './best-within.js';
import { type OpenSearch } from './open-search.js';
import { type WrittenLoss } from './written-loss.js';

/** Estimates that compete with measured losses; importance ranks layers too poorly (bench/sensitivity). */
const ESTIMATES: ReadonlySet<string> = new Set(['gram', 'hessian']);

/** What the contender by the losses of the search's own sensitivity and of `gram` together is called. */
const COMBINED = 'combined';

/** What the contender of one format everywhere is called. */
const UNIFORM = 'uniform';

/** What the first sensitivity's optimum is called once losses were measured again around it. */
const CORRECTED = 'corrected';

/** The assignment that lost least as written. */
export interface Contest extends Allocation {
  /** Losses and costs by the sensitivity that found it. */
  readonly groups: readonly Group[];
  /** Loss of the written model. */
  readonly written: number;
  /** All that took part, in the order of the tables; then `corrected`, where that differs, and `uniform`. */
  readonly contest: ContestResult;
}

/** The losses that compete for the budgets, as groups of the allocation problem, by method: the search's own first. */
export function contestTables(
  space: SearchSpace,
  sensitivity: Sensitivity,
  others: readonly (Sensitivity | MissingSensitivity)[],
): Map<string, readonly Group[]> {
  const answers = others
    .filter((other) => 'loss' in other)
    // Gradients may overflow where the network itself does not.
    .filter(({ method, loss }) => ESTIMATES.has(method) && loss.flat().every(Number.isFinite));
  const tables = new Map(
    [sensitivity, ...answers].map((s): [string, readonly Group[]] => [s.method, allocationGroups(space, s)]),
  );
  const [own, gram] = [tables.get(sensitivity.method), tables.get('gram')];
  if (own !== undefined && gram !== undefined && own !== gram) tables.set(COMBINED, combineLosses(own, gram));
  return tables;
}

/**
 * Lets the optima of several sensitivities compete.
 *
 * @param tables groups with the losses of each sensitivity, by its name
 * @param judge  how the written model does
 * @throws FxqError E_BUDGET when no assignment keeps the limits
 */
export async function contestWithin(
  open: OpenSearch,
  tables: ReadonlyMap<string, readonly Group[]>,
  limits: readonly Limit[],
  judge: (assignment: Assignment) => Promise<WrittenLoss>,
  ctx: Context,
): Promise<Contest> {
  const [first] = tables.values();
  const found: {
    readonly from: string;
    readonly allocation: Allocation;
    readonly groups: readonly Group[];
  }[] = [];
  for (const [from, groups] of tables)
    found.push({ from, allocation: allocate({ groups, minimize: 'loss', limits }), groups });
  const groups = required(first, 'a sensitivity');
  const corrected = await bestWithin(open, groups, limits, ctx);
  if (keyOf(corrected) !== keyOf(required(found[0], 'an optimum').allocation))
    found.push({ from: CORRECTED, allocation: corrected, groups });
  const uniform = uniformWithin({ groups, minimize: 'loss', limits });
  if (uniform !== undefined) found.push({ from: UNIFORM, allocation: uniform, groups });
  const losses = new Map<string, WrittenLoss>();
  const distinct = new Map(found.map(({ allocation }) => [keyOf(allocation), allocation]));
  const progress = ctx.start('Writing what sensitivities think best', distinct.size);
  for (const [key, { choice }] of distinct) {
    checkAbort(ctx);
    losses.set(key, await judge(assignmentOf(open.space, choice)));
    progress.update(losses.size);
  }
  progress.finish();
  const contenders = found.map(({ from, allocation }): Contender => {
    const { loss, steady } = required(losses.get(keyOf(allocation)), from);
    return { from, written: loss, steady };
  });
  const best = bestOf(
    contenders.map(({ from }) => from),
    found.map(({ allocation }) => losses.get(keyOf(allocation))?.samples ?? []),
  );
  const { allocation, groups: by } = required(found[best], 'a contender');
  const { from, written } = required(contenders[best], 'a contender');
  return { ...allocation, groups: by, written, contest: { taken: from, contenders } };
}

const keyOf = ({ choice }: Allocation): string => choice.join();

/** Contenders that have to be beaten, in this order, by more than chance. */
const INCUMBENTS: readonly string[] = [UNIFORM, COMBINED];

/** The least loss; where chance decides, the uniform format, or what comes nearest to it in trust. */
function bestOf(names: readonly string[], losses: readonly LossBySample[]): number {
  const rank = (i: number): number => {
    const place = INCUMBENTS.indexOf(names[i] ?? '');
    return place < 0 ? INCUMBENTS.length : place;
  };
  const order = names.map((_, i) => i).sort((a, b) => rank(a) - rank(b) || a - b);
  return required(order[bestBeyondChance(order.map((i) => losses[i] ?? []))], 'a contender');
}
