/** Raises the standard opset of a model, one version after the other, with its meaning kept. */
import { FxqError, required, type Note } from '../../core/index.js';
import {
  describeNode,
  functionsOf,
  irVersionFor,
  loadTensor,
  operatorFacts,
  opsetOf,
  subgraphsOf,
  SUPPORTED,
  type Graph,
  type Model,
  type Node,
} from '../../onnx/index.js';
import { pack, type Tensor } from '../../tensor/index.js';
import { editGraphs } from '../pass.js';
import { isRefusal } from '../rule.js';
import { type Scope } from '../scope.js';
import { knownTypes, type KnownTypes } from './known-types.js';
import { type Site, type Step } from './step.js';
import { STEPS } from './steps.js';

export interface Converted {
  readonly model: Model;
  /** What the user may want to know of the conversion. */
  readonly notes: readonly Note[];
}

/**
 * Writes a model for a later version of the standard operator set. The IR version rises only as far as that needs;
 * operators of other domains stay as they are.
 *
 * @param target opset wanted, at most 26
 * @throws FxqError E_OPSET naming every node that has no known equivalent
 */
export async function convertOpset(model: Model, target: number): Promise<Converted> {
  const current = opsetOf(model);
  if (target === current) return { model, notes: [] };
  checkTarget(current, target);
  checkFunctions(model, target);
  checkOperators(model, target);
  const needsTypes = stepsAhead(model.graph, current, target).some((step) => step.needsTypes);
  const known = needsTypes ? await knownTypes(model) : undefined;
  const notes: Note[] = [];
  let raised = known?.model ?? model;
  for (let version = current + 1; version <= target; version++) raised = raise(raised, version, known, notes);
  if (model.rest?.trainingInfo !== undefined)
    notes.push(note(`the training graphs stay at opset ${current}`, 'warn'));
  const irVersion = Math.max(model.irVersion, irVersionFor(target));
  return { model: { ...raised, irVersion, opsets: new Map(model.opsets).set('', target) }, notes };
}

/**
 * The same where the model is not at the version already, or above it.
 *
 * @throws FxqError E_OPSET as {@link convertOpset}
 */
export async function raiseOpset(model: Model, least: number): Promise<Converted> {
  return opsetOf(model) < least ? convertOpset(model, least) : { model, notes: [] };
}

function checkTarget(current: number, target: number): void {
  const [, highest] = SUPPORTED.opset;
  if (target < current)
    throw new FxqError(
      'E_OPSET',
      `opset ${current} cannot be lowered to ${target}`,
      `Ask for opset ${current} or above.`,
    );
  if (target > highest)
    throw new FxqError(
      'E_OPSET',
      `opset ${target} is not known; the highest is ${highest}`,
      `Ask for opset ${highest} or below.`,
    );
}

/** Functions of the model have bodies of their own, for an opset of their own. */
function checkFunctions(model: Model, target: number): void {
  const behind = functionsOf(model).filter(({ opset = target }) => opset < target);
  if (behind.length === 0) return;
  const names = behind.map(({ name }) => `'${name}'`).join(', ');
  throw new FxqError(
    'E_OPSET',
    `the opset of model functions cannot be raised to ${target}: ${names}`,
    'Inline the functions when exporting the model, or export it with that opset.',
  );
}

function checkOperators(model: Model, target: number): void {
  const unknown = [...allNodes(model.graph)].filter((n) => n.domain === '' && operatorFacts(n) === undefined);
  refuseNodes(
    target,
    unknown.map((n) => `${describeNode(n)}: fxq does not know the operator`),
  );
}

/** How many nodes one message names. */
const NAMED = 5;

function refuseNodes(target: number, reasons: readonly string[], cause?: FxqError): void {
  if (reasons.length === 0) return;
  const more = reasons.length > NAMED ? [`and ${reasons.length - NAMED} more`] : [];
  const because = cause === undefined ? [] : [cause.message];
  const lines = [
    `the model cannot be raised to opset ${target}`,
    ...reasons.slice(0, NAMED),
    ...more,
    ...because,
  ];
  throw new FxqError('E_OPSET', lines.join('\n  '), `Export the model with opset ${target} or above.`, {
    cause,
  });
}

function* allNodes(graph: Graph): Iterable<Node> {
  for (const node of graph.nodes) {
    yield node;
    for (const subgraph of subgraphsOf(node)) yield* allNodes(subgraph.graph);
  }
}

function stepOf(node: Node, version: number): Step | undefined {
  return node.domain === '' ? STEPS[node.opType]?.[version] : undefined;
}

function stepsAhead(graph: Graph, current: number, target: number): Step[] {
  const versions = Array.from({ length: target - current }, (_, i) => current + 1 + i);
  return [...allNodes(graph)].flatMap((node) => versions.flatMap((version) => stepOf(node, version) ?? []));
}

/** The model at the next version. */
function raise(model: Model, version: number, known: KnownTypes | undefined, notes: Note[]): Model {
  const refused: string[] = [];
  const edited = editGraphs(model, (scope) => {
    const constants = new Map<string, string>();
    for (const node of scope.graph.nodes) {
      const step = stepOf(node, version);
      if (step === undefined) continue;
      const result = step(node, createSite(node, scope, known, constants, notes));
      if (isRefusal(result)) refused.push(`${describeNode(node)}: ${result.refused}`);
      else if (result !== node) scope.graph.replace(node, result);
    }
  });
  refuseNodes(version, refused, known?.error);
  return edited;
}

function createSite(
  node: Node,
  scope: Scope,
  known: KnownTypes | undefined,
  constants: Map<string, string>,
  notes: Note[],
): Site {
  const { graph } = scope;
  return {
    type: (value) => required(known, `types for ${node.opType}`).types.get(value) ?? scope.type(value),
    constantTensor: (value) => scope.constantTensor(value) ?? constantOf(graph.producer(value)),
    isRead: (value) => graph.isGraphOutput(value) || graph.consumers(value).length > 0,
    addConstant: (base, value) => {
      const key = contentKey(value);
      const name = constants.get(key) ?? graph.addInitializer(base, value);
      constants.set(key, name);
      return name;
    },
    emit: (opType, inputs, attributes) =>
      graph.emit(opType, inputs, attributes, `${node.outputs[0] ?? ''}_${opType}`),
    freshName: (base) => graph.uniqueName(base),
    note: (message, level = 'info') => void notes.push(note(message, level)),
  };
}

function constantOf(producer: Node | undefined): Tensor | undefined {
  const value = producer?.opType === 'Constant' ? producer.attributes.get('value') : undefined;
  return value?.kind === 'tensor' ? loadTensor(value.value) : undefined;
}

function contentKey({ dtype, dims, data }: Tensor): string {
  return `${dtype}[${dims.join()}]${Buffer.from(pack(dtype, data)).toString('hex')}`;
}

function note(message: string, level: Note['level']): Note {
  return { level, code: 'opset', message };
}
