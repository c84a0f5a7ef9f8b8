/** What each node is to the plan: its role on the target, or the reason it stays float. */
import { parseFormat } from '../formats/index.js';
import {
  dataInputs,
  operatorFacts,
  weightSlots,
  type Graph,
  type Node,
  type TensorType,
  type WeightSlot,
} from '../onnx/index.js';
import { sizeOf } from '../tensor/index.js';
import { refusesDynamic } from './dynamic.js';
import { type RulesOf } from './match.js';
import { type GranularitySetting, type PlanSettings } from './settings.js';
import { type Role, type Target } from './target.js';

export type ValueTypes = ReadonlyMap<string, TensorType>;

/** A constant operand that becomes a stored weight. */
export interface WeightOperand {
  readonly input: number;
  readonly initializer: string;
  /** Undefined for the constant operand of an element-wise operator: one scale for all of it. */
  readonly slot: WeightSlot | undefined;
}

export interface NodeRole {
  readonly node: Node;
  readonly role: Role | 'float';
  readonly why: string;
  readonly formats: NodeFormats;
  /** Inputs that carry activations. */
  readonly activations: readonly number[];
  readonly weights: readonly WeightOperand[];
  readonly outputRequired: boolean;
}

/** Formats one node asks for, after its rules. */
export interface NodeFormats {
  readonly weights: string;
  readonly activations: string;
  readonly granularity: GranularitySetting;
  readonly solver: string;
}

/** Lookup tables below this many elements stay float: there is nothing to gain. */
const TABLE_MINIMUM = 1024;

/** Roles of all nodes, in graph order. */
export function assignRoles(
  graph: Graph,
  types: ValueTypes,
  target: Target,
  settings: PlanSettings,
  rules: RulesOf,
): NodeRole[] {
  const inputs = new Set(graph.inputs.map((v) => v.name));
  const isConstant = (name: string): boolean => graph.initializers.has(name) && !inputs.has(name);
  return graph.nodes.map((node) => roleOf(node, { types, target, settings, rules, isConstant, graph }));
}

interface Scope {
  readonly graph: Graph;
  readonly types: ValueTypes;
  readonly target: Target;
  readonly settings: PlanSettings;
  readonly rules: RulesOf;
  readonly isConstant: (name: string) => boolean;
}

function roleOf(node: Node, scope: Scope): NodeRole {
  const formats = formatsOf(node, scope);
  const stay = (why: string): NodeRole => ({
    node,
    role: 'float',
    why,
    formats,
    activations: [],
    weights: [],
    outputRequired: false,
  });
  const excluded = exclusion(node, scope);
  if (excluded !== undefined) return stay(excluded);
  const facts = operatorFacts(node);
  const weights = weightOperands(node, scope);
  const isTable = node.opType === 'Gather' && node.domain === '';
  // A lookup in an activation only moves values.
  const support: Target['operators'][string] | undefined =
    isTable && weights.length === 0 ? { role: 'move' } : scope.target.operators[supportKey(node)];
  if (support === undefined) return stay(`${scope.target.name} has no integer kernel for ${node.opType}`);
  const refusal = support.refuses?.(node);
  if (refusal !== undefined) return stay(refusal);
  if (facts?.category === 'weighted' && formats.weights === 'float')
    return stay('its weights are kept float');
  const activations = dataInputs(node).filter(
    (i) => !weights.some((w) => w.input === i) && isFloat(node.inputs[i] ?? '', scope.types),
  );
  const role = effectiveRole(support.role, formats, weights.length > 0);
  if (role === undefined) return stay('activations are kept float');
  if (role === 'weights' && weights.length === 0) return stay('it has no constant weights');
  if (isTable && weights.length > 0) {
    const dims = scope.graph.initializers.get(weights[0]?.initializer ?? '')?.dims ?? [];
    if (sizeOf(dims) < TABLE_MINIMUM) return stay('its table is too small to gain anything');
  }
  if (role !== 'weights' && activations.length === 0) return stay('it has no float activations');
  if (role === 'dynamic') {
    const refused = refusesDynamic(
      node,
      weights.map((w) => w.input),
    );
    if (refused !== undefined) return { ...stay(refused), role: 'weights', weights };
  }
  const why =
    role === support.role ? `${scope.target.name}: ${describeRole(role)}` : 'activations are kept float';
  return { node, role, why, formats, activations, weights, outputRequired: support.output === 'required' };
}

function supportKey(node: Node): string {
  return node.domain === '' ? node.opType : `${node.domain}.${node.opType}`;
}

function describeRole(role: Role): string {
  switch (role) {
    case 'anchor':
      return 'integer kernel';
    case 'follow':
      return 'integer kernel between integers';
    case 'move':
      return 'moves integers';
    case 'weights':
      return 'weights only, no integer kernel';
    case 'dynamic':
      return 'activations quantized inside the operator';
  }
}

/** The role that is left when activations stay float or are quantized at run time. */
function effectiveRole(role: Role, formats: NodeFormats, hasWeights: boolean): Role | undefined {
  if (formats.activations === 'float') return hasWeights ? 'weights' : undefined;
  if (formats.activations !== 'dynamic') return role;
  if (role === 'anchor') return hasWeights ? 'dynamic' : undefined;
  return role === 'dynamic' || role === 'weights' ? role : undefined;
}

function formatsOf(node: Node, { settings, rules }: Scope): NodeFormats {
  const { weights, activations, granularity, solver } = settings;
  let formats: NodeFormats = { weights, activations, granularity, solver };
  for (const rule of rules.get(node) ?? []) {
    formats = {
      weights: rule.weights ?? formats.weights,
      activations: rule.activations ?? formats.activations,
      granularity: rule.granularity ?? formats.granularity,
      solver: rule.solver ?? formats.solver,
    };
  }
  if (formats.weights !== 'float') parseFormat(formats.weights);
  if (formats.activations !== 'float' && formats.activations !== 'dynamic') parseFormat(formats.activations);
  return formats;
}

function exclusion(node: Node, { rules }: Scope): string | undefined {
  const deciding = (rules.get(node) ?? []).filter((rule) => rule.quantize !== undefined).at(-1);
  if (deciding?.quantize !== false) return undefined;
  const { match } = deciding;
  return `excluded by ${match.node ?? match.opType ?? `${match.between?.from} … ${match.between?.to}`}`;
}

/** Constant operands: the weight of a layer, or the constant side of an element-wise operator. */
function weightOperands(node: Node, { types, isConstant, graph }: Scope): WeightOperand[] {
  const isUsable = (name: string): boolean =>
    isConstant(name) && isFloat(name, types) && graph.initializers.get(name)?.source.kind !== 'opaque';
  const slots = weightSlots(node);
  if (slots.length > 0) {
    const found = slots.filter((slot) => isUsable(node.inputs[slot.input] ?? ''));
    // MatMul may have a weight on either side; one constant side is the weight.
    const chosen = node.opType === 'MatMul' ? found.slice(0, 1) : found;
    return chosen.map((slot) => ({ input: slot.input, initializer: node.inputs[slot.input] ?? '', slot }));
  }
  if (operatorFacts(node)?.category !== 'elementwise') return [];
  return dataInputs(node)
    .filter((i) => isUsable(node.inputs[i] ?? ''))
    .map((input) => ({ input, initializer: node.inputs[input] ?? '', slot: undefined }));
}

function isFloat(name: string, types: ValueTypes): boolean {
  return types.get(name)?.dtype === 'float32';
}
