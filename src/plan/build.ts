/** Building the plan: roles, integer flow, ties and operand formats; scales come later, from data. */
import { FxqError } from '../core/index.js';
import { parseFormat } from '../formats/index.js';
import { everyConstant, operatorFacts, subgraphsOf, type Model, type Node } from '../onnx/index.js';
import { matchRules } from './match.js';
import {
  type ActivationQuantization,
  type Granularity,
  type NodePlan,
  type Plan,
  type WeightQuantization,
} from './plan.js';
import { integerFlow, resultFormat, type Flow, type ResultPoint } from './propagate.js';
import { assignRoles, type NodeRole, type Scope, type ValueTypes, type WeightOperand } from './roles.js';
import { type GranularitySetting, type PlanSettings } from './settings.js';
import { softmaxInputs } from './softmax-inputs.js';
import { findTarget } from './targets/index.js';
import { createTies } from './ties.js';

/**
 * Plans the quantization of a prepared model; scales and zero points are left empty.
 *
 * @param model prepared: constants are initializers, node names unique
 * @param types element types of all values
 * @throws FxqError E_CONFIG for rules that match nothing, E_FORMAT for unknown formats
 */
export function planQuantization(model: Model, types: ValueTypes, settings: PlanSettings): Plan {
  const { graph } = model;
  const target = findTarget(settings.target);
  const rules = matchRules(graph, settings.nodes);
  const constants = everyConstant(graph);
  const scope = { types, constants, target, settings, rules };
  const roles = assignRoles(graph, { ...scope, observable: true });
  const builder = new PlanBuilder(scope, integerFlow(graph, roles, target.fusesIntoSymmetric));
  for (const role of roles) builder.addNode(role);
  for (const node of graph.nodes) addSubgraphs(builder, node, { ...scope, observable: false });
  return builder.finish(target.name, softmaxInputs(graph));
}

function addSubgraphs(builder: PlanBuilder, node: Node, scope: Scope): void {
  for (const { graph } of subgraphsOf(node)) {
    for (const role of assignRoles(graph, scope)) builder.addNode(role);
    for (const inner of graph.nodes) addSubgraphs(builder, inner, scope);
  }
}

class PlanBuilder {
  readonly #scope: Omit<Scope, 'observable'>;
  readonly #flow: Flow;
  readonly #activations = new Map<string, Omit<ActivationQuantization, 'tie' | 'moved'>>();
  readonly #weights = new Map<string, WeightQuantization>();
  readonly #nodes = new Map<string, NodePlan>();
  readonly #ties = createTies();
  readonly #moved = new Set<string>();
  /** Results that appear behind a fused activation, by that activation. */
  readonly #fused = new Map<Node, { id: string; by: Node }>();

  constructor(scope: Omit<Scope, 'observable'>, flow: Flow) {
    this.#scope = scope;
    this.#flow = flow;
  }

  addNode(role: NodeRole): void {
    const { node } = role;
    if (this.#flow.integer.has(role)) this.#addInteger(role);
    else if (role.role === 'weights' || role.role === 'dynamic') this.#addWeightsOnly(role);
    else this.#addFloat(role);
    const fused = this.#fused.get(node);
    if (fused === undefined) return;
    const plan = this.#nodes.get(node.name);
    if (plan === undefined || plan.decision !== 'float') return;
    const why = `fused into ${fused.by.opType} '${fused.by.name}'`;
    this.#nodes.set(node.name, { ...plan, decision: 'static', why, outputs: [fused.id] });
  }

  #addInteger(role: NodeRole): void {
    const { node } = role;
    const point = this.#flow.results.get(node);
    const inputs = node.inputs.map((value, i) =>
      role.activations.includes(i) ? this.#activation(value, role) : null,
    );
    const outputs = this.#outputs(role, point);
    for (const operand of role.weights) this.#addWeight(operand, role);
    if (sharesParameters(role)) {
      const ids = [...inputs, ...outputs].filter((id) => id !== null);
      this.#ties.join(ids);
      for (const id of outputs) if (id !== null) this.#moved.add(id);
    }
    const bias = this.#biasInput(role);
    this.#nodes.set(node.name, {
      node: node.name,
      opType: node.opType,
      decision: 'static',
      why: role.why,
      inputs,
      outputs,
      weights: weightNames(role),
      ...(role.onCodes && this.#areBytes([...inputs, ...outputs]) ? { onCodes: true } : {}),
      ...(bias === undefined ? {} : { bias }),
    });
  }

  /** Ids of integer results; those behind a fused activation belong to that activation's node. */
  #outputs(role: NodeRole, point: ResultPoint | undefined): (string | null)[] {
    const { node } = role;
    const isInteger = role.outputRequired || role.role !== 'anchor';
    const none = node.outputs.map(() => null);
    if (!isInteger || point === undefined) return none;
    if (point.fused !== undefined) {
      this.#fused.set(point.fused, { id: this.#activation(point.value, role, resultFormat(role)), by: node });
      return none;
    }
    return node.outputs.map((value) =>
      value !== '' && this.#scope.types.get(value)?.dtype === 'float32'
        ? this.#activation(value, role, resultFormat(role))
        : null,
    );
  }

  #activation(value: string, role: NodeRole, wanted = role.formats.activations): string {
    const rule = this.#scope.settings.tensors.filter((t) => t.tensor === value).at(-1);
    const format = rule?.format ?? wanted;
    if (parseFormat(format).vector !== undefined)
      throw new FxqError(
        'E_FORMAT',
        `activation '${value}' cannot have format ${format}, whose codes stand for several weights each`,
        'Choose an integer, fixed-point or float8 format for activations.',
      );
    const id = format === this.#scope.settings.activations ? value : `${value}@${format}`;
    if (!this.#activations.has(id)) {
      this.#activations.set(id, {
        value,
        format,
        granularity: { kind: 'tensor' },
        scale: [],
        zeroPoint: [],
        ...(rule?.range === undefined
          ? {}
          : { range: { low: rule.range[0], high: rule.range[1], method: 'given' } }),
        why: rule === undefined ? `${role.node.opType} '${role.node.name}'` : 'rule for this tensor',
      });
    }
    return id;
  }

  #addWeight(operand: WeightOperand, role: NodeRole): void {
    const rank = this.#scope.constants.get(operand.initializer)?.dims.length ?? 0;
    // An element-wise kernel wants both operands of one type.
    const format = operand.slot === undefined ? role.formats.activations : role.formats.weights;
    // A table that is also the weight of the last layer has one copy, which suits the more demanding of the two.
    const other = this.#weights.get(operand.initializer)?.format;
    if (other !== undefined && parseFormat(other).bits > parseFormat(format).bits) return;
    this.#weights.set(operand.initializer, {
      initializer: operand.initializer,
      format,
      granularity: granularityOf(operand, role.node, rank, format, role.formats.granularity),
      ...vectorReduction(operand, role.node, rank, format),
      scale: [],
      zeroPoint: [],
      solver: operand.slot === undefined ? 'nearest' : role.formats.solver,
      ...(operand.slot === undefined || role.formats.sparsity === undefined
        ? {}
        : { sparsity: role.formats.sparsity }),
      why: role.formats.why ?? `${role.node.opType} '${role.node.name}'`,
    });
  }

  #addWeightsOnly(role: NodeRole): void {
    for (const operand of role.weights) this.#addWeight(operand, role);
    this.#nodes.set(role.node.name, {
      node: role.node.name,
      opType: role.node.opType,
      decision: role.role === 'dynamic' ? 'dynamic' : 'weights',
      why: role.why,
      inputs: role.node.inputs.map(() => null),
      outputs: role.node.outputs.map(() => null),
      weights: weightNames(role),
    });
  }

  #addFloat(role: NodeRole): void {
    const { node } = role;
    const why =
      role.role === 'float' ? role.why : 'its neighbours are float, so integers would cost conversions';
    this.#nodes.set(node.name, {
      node: node.name,
      opType: node.opType,
      decision: 'float',
      why,
      inputs: node.inputs.map(() => null),
      outputs: node.outputs.map(() => null),
      weights: {},
    });
  }

  /** A constant vector bias of an integer layer. */
  #biasInput(role: NodeRole): number | undefined {
    const facts = operatorFacts(role.node);
    if (role.role !== 'anchor' || facts?.category !== 'weighted' || facts.bias === undefined)
      return undefined;
    const weight = role.weights.find((w) => w.slot !== undefined);
    if (weight === undefined || !this.#sumsIntegers(weight)) return undefined;
    const bias = this.#scope.constants.get(role.node.inputs[facts.bias] ?? '');
    return bias?.dtype === 'float32' && bias.dims.length === 1 ? facts.bias : undefined;
  }

  /** Kernels that move codes know integers of 8 bits; activations in fewer travel in those. */
  #areBytes(ids: readonly (string | null)[]): boolean {
    return ids.every((id) => {
      const format = id === null ? undefined : this.#activations.get(id)?.format;
      if (format === undefined) return true;
      const { integer, bits } = parseFormat(format);
      return integer && bits <= 8;
    });
  }

  /** Whether products with a weight add up on one integer grid a channel, on which a bias can be, too. */
  #sumsIntegers({ initializer }: WeightOperand): boolean {
    const weight = this.#weights.get(initializer);
    return weight !== undefined && weight.granularity.kind !== 'block' && parseFormat(weight.format).integer;
  }

  finish(target: string, softmaxOnly: ReadonlySet<string>): Plan {
    return {
      version: 1,
      target,
      activations: Object.fromEntries(
        [...this.#activations].map(([id, a]) => [
          id,
          {
            ...a,
            tie: this.#ties.root(id),
            moved: this.#moved.has(id),
            ...(softmaxOnly.has(a.value) && { softmaxOnly: true }),
          },
        ]),
      ),
      weights: Object.fromEntries(this.#weights),
      nodes: Object.fromEntries(this.#nodes),
    };
  }
}

/** Movement keeps every code as it is; the inputs of a Concat must agree for the same reason. */
function sharesParameters(role: NodeRole): boolean {
  return role.role === 'move' || role.node.opType === 'Concat';
}

function weightNames(role: NodeRole): Record<number, string> {
  return Object.fromEntries(role.weights.map((w) => [w.input, w.initializer]));
}

function vectorReduction(
  { slot }: WeightOperand,
  node: Node,
  rank: number,
  format: string,
): Pick<WeightQuantization, 'reduction'> {
  if (slot === undefined || parseFormat(format).vector === undefined) return {};
  return { reduction: { axes: slot.reductionAxes(node, rank), groups: slot.groups(node) } };
}

function granularityOf(
  operand: WeightOperand,
  node: Node,
  rank: number,
  format: string,
  setting: GranularitySetting,
): Granularity {
  const { slot } = operand;
  // Block formats bring their own block size.
  const block = slot === undefined ? undefined : parseFormat(format).block;
  if (block !== undefined && rank >= 2)
    return { kind: 'block', axis: slot?.reductionAxes(node, rank)[0] ?? 0, size: block };
  if (slot === undefined || setting === 'tensor' || rank < 2) return { kind: 'tensor' };
  if (setting === 'channel') return { kind: 'channel', axis: slot.channelAxis(node, rank) };
  return { kind: 'block', axis: slot.reductionAxes(node, rank)[0] ?? 0, size: setting.block };
}

/** Values whose statistics the plan needs: those whose range is not given and that are not merely moved from others. */
export function valuesToCalibrate(plan: Plan): string[] {
  const values = Object.values(plan.activations)
    .filter((a) => a.range?.method !== 'given' && !a.moved)
    .map((a) => a.value);
  return [...new Set(values)].sort();
}
