/** Parts of the user's model inside a program, so that the same rules differentiate them. */
import { FxqError } from '../core/index.js';
import {
  describeNode,
  loadTensor,
  namesOf,
  namesRead,
  opsetOf,
  renameInputs,
  subgraphsOf,
  type Dim,
  type Model,
  type Node,
  type TensorType,
} from '../onnx/index.js';
import { type DType } from '../tensor/index.js';
import { type Program } from './program.js';
import { type Value, type ValueType } from './value.js';

export interface InlineOptions {
  /** Types of the model's values (`inferValueTypes`). */
  readonly types: ReadonlyMap<string, TensorType>;
  /**
   * What takes the place of values of the model, by name: the inputs of the part, and weights that are learned. The part
   * ends where it meets one of them.
   */
  readonly bind: Readonly<Record<string, Value>>;
  /** Takes the place of a node's first output for all that read it; `valueOf` gives what was recorded before. */
  readonly replace?: (node: Node, output: Value, valueOf: (name: string) => Value) => Value;
}

/** First opset whose forms of the operators are those of a program: axes as inputs, for instance. */
export const GRADIENT_OPSET = 18;

/**
 * Records the nodes of a prepared model that compute some of its values, and returns those. Weights that are not bound become
 * constants. A symbolic size of the model takes the size that a bound value has there.
 *
 * @throws FxqError E_OPSET below opset 18, E_INTERNAL where the part reads an input of the model that is not bound
 */
export function inlineModel(
  p: Program,
  model: Model,
  outputs: readonly string[],
  { types, bind, replace }: InlineOptions,
): Record<string, Value> {
  const opset = opsetOf(model);
  if (opset < GRADIENT_OPSET) {
    throw new FxqError(
      'E_OPSET',
      `gradients need a model of opset ${GRADIENT_OPSET} or later, this one has ${opset}`,
      'Raise the opset of the model first (convertOpset).',
    );
  }
  p.tape.requireOpset(opset);
  const { graph } = model;
  const typeOf = typesWithSizes(types, bind);
  const values = new Map<string, Value>(Object.entries(bind));
  const read = (name: string, reader: Node): Value => {
    const known = values.get(name);
    if (known !== undefined) return known;
    const stored = graph.initializers.get(name);
    if (stored === undefined) {
      throw new FxqError(
        'E_INTERNAL',
        `internal: ${describeNode(reader)} reads '${name}', which is not bound`,
      );
    }
    const constant = p.tape.constant(loadTensor(stored, name), name);
    values.set(name, constant);
    return constant;
  };

  for (const node of partBehind(graph.nodes, outputs, bind)) {
    const inputs = node.inputs.map((name) => (name === '' ? undefined : read(name, node)));
    for (const { graph: subgraph } of subgraphsOf(node)) p.tape.reserve(namesOf(subgraph));
    const names = new Map([...namesRead(node)].map((name) => [name, read(name, node).name]));
    const results = node.outputs.map((name) => (name === '' ? undefined : p.tape.define(typeOf(name), name)));
    node.outputs.forEach((name, i) => void (results[i] && values.set(name, results[i])));
    const renamed = { ...renameInputs(node, names), outputs: results.map((v) => v?.name ?? '') };
    p.tape.record({ node: renamed, inputs, outputs: results });
    const [first] = results;
    if (replace !== undefined && first !== undefined)
      values.set(
        node.outputs[0] ?? '',
        replace(node, first, (name) => read(name, node)),
      );
  }
  return Object.fromEntries(outputs.map((name) => [name, read(name, graph.nodes[0] as Node)]));
}

/** The nodes behind some values, up to the bound ones, in order. */
function partBehind(
  nodes: readonly Node[],
  outputs: readonly string[],
  bind: Readonly<Record<string, Value>>,
): Node[] {
  const needed = new Set(outputs.filter((name) => bind[name] === undefined));
  const part: Node[] = [];
  for (const node of [...nodes].reverse()) {
    if (!node.outputs.some((name) => needed.has(name))) continue;
    for (const name of namesRead(node)) if (bind[name] === undefined) needed.add(name);
    part.push(node);
  }
  return part.reverse();
}

/** Types in which the symbols of bound values have the sizes they are bound to. */
function typesWithSizes(
  types: ReadonlyMap<string, TensorType>,
  bind: Readonly<Record<string, Value>>,
): (name: string) => ValueType {
  const sizes = new Map<string, Dim>();
  for (const [name, { dims }] of Object.entries(bind)) {
    types.get(name)?.dims?.forEach((d, i) => {
      const bound = dims?.[i];
      if (typeof d === 'string' && bound !== undefined && bound !== null) sizes.set(d, bound);
    });
  }
  const sized = (d: Dim): Dim => (typeof d === 'string' ? (sizes.get(d) ?? d) : d);
  return (name) => {
    const type = types.get(name);
    if (type?.dtype === undefined || type.dtype === 'string') {
      throw new FxqError('E_UNSUPPORTED', `value '${name}' is not a numeric tensor`);
    }
    return { dtype: type.dtype as DType, dims: type.dims?.map(sized) };
  };
}
