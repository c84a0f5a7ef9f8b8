/** The record of a program being built: ONNX nodes in order, the constants and inputs they read, nested scopes. */
import { FxqError } from '../core/index.js';
import {
  node as createNode,
  value as createValueInfo,
  type AttributeInput,
  type Dim,
  type Node,
  type ValueInfo,
} from '../onnx/index.js';
import { sizeOf, tensor, type DType, type Tensor } from '../tensor/index.js';
import { type Operand, type Value, type ValueType } from './value.js';

/** One recorded node with its values. */
export interface Step {
  readonly node: Node;
  /** `undefined` for an omitted optional input. */
  readonly inputs: readonly (Value | undefined)[];
  readonly outputs: readonly (Value | undefined)[];
}

/** A derivative that replaces those of the operators a value was made with. */
export interface CustomGradient {
  readonly inputs: readonly Value[];
  /** From the gradient of the value to those of the inputs; `undefined` where nothing flows. */
  readonly rule: (gradient: Value) => readonly (Value | undefined)[];
}

/** What scopes of one program share: names, inputs and constants. Subgraphs read the constants of the main graph. */
interface Shared {
  readonly taken: Set<string>;
  /** Names of inputs and constants: readable from every scope. */
  readonly global: Set<string>;
  readonly inputs: ValueInfo[];
  /** Standard opset of the recorded nodes. */
  opset: number;
  readonly constants: Map<string, Tensor>;
  /** Small constants by content, so that a number used everywhere is stored once. */
  readonly interned: Map<string, Value>;
}

/** Standard opset of the nodes that operators of a program record. */
const PROGRAM_OPSET = 21;

/** Constants up to this many elements are stored once per content. */
const INTERN_LIMIT = 64;

export class Tape {
  readonly steps: Step[] = [];
  readonly #parent: Tape | undefined;
  readonly #shared: Shared;
  readonly #defined = new Set<string>();
  readonly #computed = new Set<string>();
  readonly #customGradients = new Map<string, CustomGradient>();

  /** @param parent the tape of the enclosing graph, whose values the new one may read */
  constructor(parent?: Tape) {
    this.#parent = parent;
    this.#shared =
      parent === undefined
        ? {
            opset: PROGRAM_OPSET,
            taken: new Set(),
            global: new Set(),
            inputs: [],
            constants: new Map(),
            interned: new Map(),
          }
        : parent.#shared;
  }

  get inputs(): readonly ValueInfo[] {
    return this.#shared.inputs;
  }

  get constants(): ReadonlyMap<string, Tensor> {
    return this.#shared.constants;
  }

  /** Standard opset that the program needs. */
  get opset(): number {
    return this.#shared.opset;
  }

  /** Raises the opset for nodes of a later one. */
  requireOpset(opset: number): void {
    this.#shared.opset = Math.max(this.#shared.opset, opset);
  }

  /** Keeps names out of use, because a nested graph has them. */
  reserve(names: Iterable<string>): void {
    for (const name of names) this.#shared.taken.add(name);
  }

  /** Declares an input of the program under its own name. */
  input(name: string, dtype: DType, dims: readonly Dim[]): Value {
    if (this.#shared.taken.has(name)) {
      throw new FxqError('E_INTERNAL', `internal: the program already has a value '${name}'`);
    }
    this.#shared.taken.add(name);
    this.#shared.global.add(name);
    this.#shared.inputs.push(createValueInfo(name, dtype, dims));
    return { name, dtype, dims };
  }

  /** A constant stored with the program. */
  constant(t: Tensor, base = 'constant'): Value {
    const { interned, constants } = this.#shared;
    const key = sizeOf(t.dims) <= INTERN_LIMIT ? contentKey(t) : undefined;
    const known = key === undefined ? undefined : interned.get(key);
    if (known !== undefined) return known;
    const made: Value = { name: this.uniqueName(base), dtype: t.dtype, dims: t.dims };
    constants.set(made.name, t);
    this.#shared.global.add(made.name);
    if (key !== undefined) interned.set(key, made);
    return made;
  }

  /** A scalar constant. */
  scalar(value: number, dtype: DType): Value {
    if (dtype === 'float16' || dtype === 'bfloat16')
      throw new FxqError('E_UNSUPPORTED', `tensor programs do not compute in ${dtype}`, 'Use float32.');
    return this.constant(tensor(dtype, [], [value]));
  }

  /** The operand as a value; a number becomes a scalar of the given type. */
  operand(value: Operand, dtype: DType): Value {
    return typeof value === 'number' ? this.scalar(value, dtype) : value;
  }

  /** Elements of a constant, or undefined when the value is computed. */
  constantOf(value: Value | undefined): Tensor | undefined {
    return value === undefined ? undefined : this.#shared.constants.get(value.name);
  }

  /** Records a node with one output. */
  op(
    opType: string,
    inputs: readonly (Value | undefined)[],
    type: ValueType,
    attributes: Record<string, AttributeInput> = {},
  ): Value {
    const [output] = this.ops(opType, inputs, [type], attributes);
    return output as Value;
  }

  /** Records a node with several outputs. */
  ops(
    opType: string,
    inputs: readonly (Value | undefined)[],
    types: readonly ValueType[],
    attributes: Record<string, AttributeInput> = {},
  ): Value[] {
    const outputs = types.map((type) => this.define(type, opType));
    const names = outputs.map((o) => o.name);
    this.record({
      node: createNode(
        opType,
        inputs.map((v) => v?.name ?? ''),
        names,
        attributes,
      ),
      inputs,
      outputs,
    });
    return outputs;
  }

  /** Appends a step whose outputs were made by {@link define}. */
  record(step: Step): void {
    for (const input of step.inputs) if (input !== undefined) this.#checkVisible(input, step.node);
    for (const output of step.outputs) if (output !== undefined) this.#computed.add(output.name);
    this.steps.push(step);
  }

  /** A fresh value of this scope, for a step or as input of its graph. */
  define(type: ValueType, base: string): Value {
    const name = this.uniqueName(base);
    this.#defined.add(name);
    return { name, dtype: type.dtype, dims: type.dims };
  }

  /** Whether a node of this scope makes the value. */
  computes(value: Value): boolean {
    return this.#computed.has(value.name);
  }

  /** Gives a value a derivative of its own. */
  setGradient(value: Value, gradient: CustomGradient): Value {
    this.#customGradients.set(value.name, gradient);
    return value;
  }

  customGradient(value: Value): CustomGradient | undefined {
    return this.#customGradients.get(value.name);
  }

  /** Whether the program has a value of this name. */
  has(name: string): boolean {
    return this.#shared.taken.has(name);
  }

  /** A name no value of the program has, derived from `base`. */
  uniqueName(base: string): string {
    const { taken } = this.#shared;
    let name = base;
    for (let i = taken.size; name === base || taken.has(name); i++) name = `${base}_${i}`;
    taken.add(name);
    return name;
  }

  #checkVisible(value: Value, reader: Node): void {
    if (this.#sees(value.name)) return;
    throw new FxqError(
      'E_INTERNAL',
      `internal: ${reader.opType} reads '${value.name}', which belongs to another program or to a loop body`,
      "Inside a loop body use the body's own builder, and hand values out as its state or outputs.",
    );
  }

  #sees(name: string): boolean {
    if (this.#shared.global.has(name) || this.#defined.has(name)) return true;
    return this.#parent !== undefined && this.#parent.#sees(name);
  }
}

function contentKey(t: Tensor): string {
  return `${t.dtype}[${t.dims.join()}]${Array.from(t.data as ArrayLike<number | bigint>, (v) => (Object.is(v, -0) ? '-0' : String(v))).join()}`;
}
