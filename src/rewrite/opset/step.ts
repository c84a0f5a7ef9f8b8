/** What a version step is, and the shapes that most of them have. */
import { type Note } from '../../core/index.js';
import {
  intsAttribute,
  withAttributes,
  type AttributeInput,
  type Node,
  type TensorType,
} from '../../onnx/index.js';
import { tensor, type Tensor } from '../../tensor/index.js';
import { refuse, type Refusal } from '../rule.js';

/**
 * Turns a node of one version of the standard operator set into one of the next that computes the same, or says why
 * that is not possible. The node returned has the same outputs.
 */
export interface Step {
  (node: Node, site: Site): Node | Refusal;
  /** Set for steps that ask for types, see {@link typed}: inferring them takes a session. */
  readonly needsTypes?: true;
}

/** Marks a step that asks for the types of values. */
export function typed(step: (node: Node, site: Site) => Node | Refusal): Step {
  return Object.assign(step, { needsTypes: true } as const);
}

/** Where a node is converted: tells what is known of its values, and takes what has to be added. */
export interface Site {
  /** Element type and shape of a value, as far as they are known. For {@link typed} steps only. */
  type(value: string): TensorType | undefined;
  /** Elements of a constant. */
  constantTensor(value: string): Tensor | undefined;
  /** Whether a node reads the value, or the graph gives it out. */
  isRead(value: string): boolean;
  /** Adds a constant called `base`; equal ones of a graph are one. */
  addConstant(base: string, value: Tensor): string;
  /** Adds a node with one output; returns its name. */
  emit(opType: string, inputs: readonly string[], attributes?: Record<string, AttributeInput>): string;
  freshName(base: string): string;
  note(message: string, level?: Note['level']): void;
}

/** Operator → version that changed it → how a node of the version before is written. */
export type StepTable = Readonly<Record<string, Readonly<Record<number, Step>>>>;

/** A step for what cannot be converted in general. */
export function unsafe(reason: string): Step {
  return () => refuse(reason);
}

/** The node without some attributes. */
export function withoutAttributes(node: Node, names: readonly string[]): Node {
  return { ...node, attributes: new Map([...node.attributes].filter(([name]) => !names.includes(name))) };
}

/** The node with an input set; inputs skipped are omitted ones. */
export function withInput(node: Node, index: number, value: string): Node {
  const inputs = Array.from(
    { length: Math.max(index + 1, node.inputs.length) },
    (_, i) => node.inputs[i] ?? '',
  );
  inputs[index] = value;
  return { ...node, inputs };
}

/** int64 vector. */
export function int64s(values: readonly number[]): Tensor {
  return tensor('int64', [values.length], values);
}

/** A list of integers that moved from an attribute to an input; absent stays absent. */
export function intsToInput(name: string, input: number): Step {
  return (node, site) => {
    const values = intsAttribute(node, name);
    const plain = withoutAttributes(node, [name]);
    return values === undefined ? plain : withInput(plain, input, site.addConstant(name, int64s(values)));
  };
}

/** An attribute whose default changed, or that names what used to be fixed: the old value is written out. */
export function writeOut(name: string, value: AttributeInput): Step {
  return (node) => (node.attributes.has(name) ? node : withAttributes(node, { [name]: value }));
}
