/** The search space: groups of layers with their candidates, what each costs, and what the rest of the model costs. */
import { required } from '../core/index.js';
import { tensorBytes, type Model, type TensorType } from '../onnx/index.js';
import { type NodeRule, type Plan } from '../plan/index.js';
import { tieGroups, type Group } from './allocation/index.js';
import {
  bitsOf,
  costsOf,
  countMacs,
  limitOf,
  type Budget,
  type CostName,
  type Hardware,
  type LayerFormats,
} from './costs/index.js';
import { candidateId, type LayerCandidate, type SearchLayer } from './layers.js';
import { type Sensitivity, type StudyGroup } from './sensitivity/index.js';

export interface SearchGroup extends StudyGroup {
  readonly name: string;
}

export interface SearchSpace {
  readonly groups: readonly SearchGroup[];
  readonly hardware: Hardware;
  readonly costs: readonly CostName[];
  /** What is spent outside the groups, by cost. */
  readonly rest: Readonly<Record<string, number>>;
}

/**
 * Groups of layers: those that share a weight, and those tied by the caller, take one candidate together.
 *
 * @param candidates what each layer offers; a group has what all its layers offer
 * @param ties       further sets of node names
 */
export function groupLayers(
  layers: readonly SearchLayer[],
  candidates: (layer: SearchLayer) => readonly LayerCandidate[],
  ties: readonly (readonly string[])[] = [],
): SearchGroup[] {
  const byNode = new Map(layers.map((l) => [l.node, l]));
  const offers = new Map(layers.map((l) => [l.node, new Map(candidates(l).map((c) => [candidateId(c), c]))]));
  const single = layers.map((l): Group => ({
    name: l.node,
    layers: [l.node],
    candidates: [...(offers.get(l.node)?.keys() ?? [])].map((id) => ({ id, amounts: {} })),
  }));
  const byWeight = new Map<string, string[]>();
  for (const { layer, node } of layers)
    byWeight.set(layer.weight, [...(byWeight.get(layer.weight) ?? []), node]);
  return tieGroups(single, [...byWeight.values(), ...ties]).map((group) => ({
    name: group.name,
    layers: group.layers.map((node) => required(byNode.get(node), node)),
    candidates: group.candidates.map(({ id }) => required(offers.get(group.layers[0] ?? '')?.get(id), id)),
  }));
}

/** What the model spends outside the layers: stored constants, and products of activations at the plan's widths. */
export function restOf(
  model: Model,
  types: ReadonlyMap<string, TensorType>,
  plan: Pick<Plan, 'nodes' | 'activations'>,
  layers: readonly SearchLayer[],
): Record<CostName, number> {
  const weights = new Set(layers.map((l) => l.layer.weight));
  const searched = new Set(layers.map((l) => l.node));
  let size = 0;
  for (const [name, stored] of model.graph.initializers) if (!weights.has(name)) size += tensorBytes(stored);
  let [macs, bops] = [0, 0];
  for (const node of model.graph.nodes) {
    if (searched.has(node.name)) continue;
    const own = countMacs(node, { types });
    const widths = (plan.nodes[node.name]?.inputs ?? []).flatMap((id) =>
      id === null ? [] : bitsOf(plan.activations[id]?.format ?? 'float'),
    );
    const [a = 32, b = a] = widths;
    macs += own;
    bops += own * a * b;
  }
  return { size, bits: size, macs, bops, latency: 0, energy: 0 };
}

/** The allocation problem's groups: the sensitivity's loss and every cost, with the rest of the model as a last group. */
export function allocationGroups(space: SearchSpace, sensitivity: Pick<Sensitivity, 'loss'>): Group[] {
  const groups = space.groups.map(({ name, layers, candidates }, g): Group => ({
    name,
    layers: layers.map((l) => l.node),
    candidates: candidates.map((candidate, c) => ({
      id: candidateId(candidate),
      amounts: {
        loss: required(sensitivity.loss[g]?.[c], `loss of ${name}`),
        ...groupCosts(space, layers, candidate),
      },
    })),
  }));
  return [
    ...groups,
    { name: 'rest', layers: [], candidates: [{ id: 'as it is', amounts: { loss: 0, ...space.rest } }] },
  ];
}

/** Totals of all costs when every group takes given formats. */
export function totalsAt(space: SearchSpace, formats: LayerFormats): Record<string, number> {
  const totals: Record<string, number> = { ...space.rest };
  for (const { layers } of space.groups)
    for (const [name, value] of Object.entries(groupCosts(space, layers, formats)))
      totals[name] = (totals[name] ?? 0) + value;
  return totals;
}

export const FLOAT_FORMATS: LayerFormats = { weights: 'float', activations: 'float', granularity: 'tensor' };
export const INT8_FORMATS: LayerFormats = { weights: 'int8', activations: 'uint8', granularity: 'channel' };

/** Budgets as limits on totals. */
export function limitsOf(
  space: SearchSpace,
  budgets: readonly Budget[],
): { amount: CostName; max: number }[] {
  return budgets.map((budget) => {
    const at = (formats: LayerFormats): number =>
      budget.amount.kind === 'absolute'
        ? 0
        : required(totalsAt({ ...space, costs: [budget.cost] }, formats)[budget.cost], budget.cost);
    return {
      amount: budget.cost,
      max: limitOf(budget, { float: at(FLOAT_FORMATS), int8: at(INT8_FORMATS) }),
    };
  });
}

/** Layers that share a weight store it once but multiply each for itself. */
function groupCosts(
  { costs, hardware }: SearchSpace,
  layers: readonly SearchLayer[],
  formats: LayerFormats,
): Record<string, number> {
  const seen = new Set<string>();
  const totals = Object.fromEntries(costs.map((name) => [name, 0]));
  for (const layer of layers) {
    const isFirst = !seen.has(layer.layer.weight);
    seen.add(layer.layer.weight);
    for (const [name, value] of Object.entries(costsOf(costs, layer, formats, hardware)))
      if (isFirst || (name !== 'size' && name !== 'bits')) totals[name] = (totals[name] ?? 0) + value;
  }
  return totals;
}

/** The candidate of every layer, by node name. */
export type Assignment = ReadonlyMap<string, LayerCandidate>;

/** An allocation as an assignment; the choice may cover the group of the rest, too. */
export function assignmentOf({ groups }: Pick<SearchSpace, 'groups'>, choice: readonly number[]): Assignment {
  return new Map(
    groups.flatMap(({ layers, candidates }, g) =>
      layers.map(
        (layer) =>
          [layer.node, required(candidates[choice[g] ?? -1], `the choice of ${layer.node}`)] as const,
      ),
    ),
  );
}

/**
 * An assignment as rules for the planner.
 *
 * @param results format of the layers' results: candidates decide about weights and inputs only
 * @param why     reason of a layer's choice, by node name
 */
export function assignmentRules(
  assignment: Assignment,
  results: string,
  why: ReadonlyMap<string, string> = new Map(),
): NodeRule[] {
  return [...assignment].map(([node, { weights, activations, granularity, solver, sparsity }]): NodeRule => {
    if (weights === 'float' && activations === 'float') return { match: { node }, quantize: false };
    const reason = why.get(node);
    const formats = {
      match: { node },
      weights,
      activations,
      results,
      granularity,
      ...(reason === undefined ? {} : { why: reason }),
    };
    if (sparsity !== undefined) return { ...formats, sparsity: { pattern: sparsity, method: solver } };
    return { ...formats, ...(solver === 'none' ? {} : { solver }) };
  });
}
