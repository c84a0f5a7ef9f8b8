/** What each node is to the plan: its role on the target, or the reason it stays float. */
import { parseFormat } from '../formats/index.js';
import {
  dataInputs,
  operatorFacts,
  weightSlots,
  type Graph,
  type Node,
  type StoredTensor,
  type TensorType,
  type WeightSlot,
} from '../onnx/index.js';
import { sizeOf } from '../tensor/index.js';
import { refusesDynamic } from './dynamic.js';
import { type RulesOf } from './match.js';
import { type GranularitySetting, type PlanSettings, type Sparsity } from './settings.js';
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
  readonly onCodes: boolean;
}

/** Formats one node asks for, after its rules. */
export interface NodeFormats {
  readonly weights: string;
  readonly activations: string;
  /** Format of results. */
  readonly results: string;
  readonly granularity: GranularitySetting;
  readonly solver: string;
  readonly sparsity?: Sparsity | 'dense';
  readonly why?: string;
}

const UNOBSERVABLE = 'values inside a subgraph are not observed during calibration';

/** Lookup tables below this many elements stay float: there is nothing to gain. */
const TABLE_MINIMUM = 1024;

/**
 * Format of lookup tables where narrower weights are asked for. A looked-up row is all that is known of a token, so no
 * other weight makes up for its error: tables only become narrower by a rule that names them.
 */
const TABLE_FORMAT = 'int8';

/** What roles depend on besides the node. */
export interface Scope {
  readonly types: ValueTypes;
  readonly constants: ReadonlyMap<string, StoredTensor>;
  readonly target: Target;
  readonly settings: PlanSettings;
  readonly rules: RulesOf;
  /** Values inside a subgraph cannot be observed during calibration, so nothing there is quantized statically. */
  readonly observable: boolean;
}

/** Roles of a graph's nodes, in its order. */
export function assignRoles(graph: Graph, scope: Scope): NodeRole[] {
  return graph.nodes.map((node) => roleOf(node, scope));
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
    onCodes: false,
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
  const refusal = support.refuses?.(node, scope.constants);
  if (refusal !== undefined) return stay(refusal);
  if (facts?.category === 'weighted' && formats.weights === 'float')
    return stay('its weights are kept float');
  const activations = dataInputs(node).filter(
    (i) => !weights.some((w) => w.input === i) && isFloat(node.inputs[i] ?? '', scope.types),
  );
  // A constant beside an activation, in an element-wise operator, is no weight to store in fewer bits.
  const hasWeights = weights.some((w) => w.slot !== undefined);
  const role = effectiveRole(support.role, formats, hasWeights);
  if (role === undefined) return stay(scope.observable ? 'activations are kept float' : UNOBSERVABLE);
  if (role === 'weights' && weights.length === 0) return stay('it has no constant weights');
  if (isTable && weights.length > 0) {
    const dims = scope.constants.get(weights[0]?.initializer ?? '')?.dims ?? [];
    if (sizeOf(dims) < TABLE_MINIMUM) return stay('its table is too small to gain anything');
  }
  if (role !== 'weights' && activations.length === 0) return stay('it has no float activations');
  if (role === 'dynamic' && support.slowDynamic === true && scope.settings.activations !== 'dynamic') {
    return stay(`${UNOBSERVABLE}, and quantizing them at run time makes ${node.opType} slower than float`);
  }
  if (role === 'dynamic') {
    const refused = refusesDynamic(
      node,
      weights.map((w) => w.input),
      formats.weights,
    );
    if (refused !== undefined) return { ...stay(refused), role: 'weights', weights };
  }
  const usual =
    role === support.role ? `${scope.target.name}: ${describeRole(role)}` : changedRole(role, scope);
  const isWide = isTable && weights.length > 0 && keepsTableWide(node, formats, scope);
  return {
    node,
    role,
    why: isWide ? `${usual}; lookup tables keep ${TABLE_FORMAT} unless a rule names another format` : usual,
    // A solver for the format asked for may not be one for the table's.
    formats: isWide ? { ...formats, weights: TABLE_FORMAT, solver: 'auto' } : formats,
    activations,
    weights,
    outputRequired: support.output === 'required',
    onCodes: support.onCodes === true,
  };
}

/** Whether a table would be narrower than 8 bits without a rule that says so. */
function keepsTableWide(node: Node, { weights }: NodeFormats, { rules }: Scope): boolean {
  const isAsked = (rules.get(node) ?? []).some((rule) => rule.weights !== undefined);
  return !isAsked && parseFormat(weights).bits < parseFormat(TABLE_FORMAT).bits;
}

function changedRole(role: Role, { observable }: Scope): string {
  const reason = observable ? 'as asked' : UNOBSERVABLE;
  return role === 'dynamic'
    ? `activations are quantized at run time: ${reason}`
    : `activations are kept float: ${reason}`;
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

function formatsOf(node: Node, { settings, rules, observable }: Scope): NodeFormats {
  const { weights, activations, granularity, solver } = settings;
  let formats: NodeFormats = { weights, activations, results: activations, granularity, solver };
  for (const rule of rules.get(node) ?? []) {
    const sparsity = rule.sparsity ?? formats.sparsity;
    const why = rule.why ?? formats.why;
    formats = {
      weights: rule.weights ?? formats.weights,
      activations: rule.activations ?? formats.activations,
      granularity: rule.granularity ?? formats.granularity,
      solver: rule.solver ?? formats.solver,
      results: rule.results ?? rule.activations ?? formats.results,
      ...(sparsity === undefined ? {} : { sparsity }),
      ...(why === undefined ? {} : { why }),
    };
  }
  if (!observable && formats.activations !== 'float')
    formats = { ...formats, activations: 'dynamic', results: 'dynamic' };
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
function weightOperands(node: Node, { types, constants }: Scope): WeightOperand[] {
  const isUsable = (name: string): boolean =>
    constants.has(name) && isFloat(name, types) && constants.get(name)?.source.kind !== 'opaque';
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
