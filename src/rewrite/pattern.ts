/** Pieces that patterns share: constants that scale or shift a value, and what a group of nodes shows the outside. */
import { describeNode, type Node } from '../onnx/index.js';
import { realsOf } from './constants.js';
import { type Scope } from './scope.js';

/** Whether a node is this standard operator. */
export function isOperator(node: Node | undefined, ...opTypes: readonly string[]): node is Node {
  return node !== undefined && node.domain === '' && opTypes.includes(node.opType);
}

/** The node that computes a value, when it is one of these standard operators. */
export function producedBy(
  value: string | undefined,
  scope: Scope,
  ...opTypes: readonly string[]
): Node | undefined {
  const node = value === undefined ? undefined : scope.graph.producer(value);
  return isOperator(node, ...opTypes) ? node : undefined;
}

/** Nodes of these standard operators that read a value. */
export function readersOf(value: string, scope: Scope, ...opTypes: readonly string[]): readonly Node[] {
  return scope.graph.consumers(value).filter((node) => isOperator(node, ...opTypes));
}

/** The first output, for patterns of operators with one. */
export function outputOf(node: Node): string {
  return node.outputs[0] ?? '';
}

/** The other operand of a binary node, or undefined when it doesn't read `value` exactly once. */
export function otherOperand(node: Node, value: string): string | undefined {
  const [a, b] = node.inputs;
  if (node.inputs.length !== 2 || a === b) return undefined;
  return a === value ? b : b === value ? a : undefined;
}

/** A constant of one element. */
export function scalarConstant(value: string | undefined, scope: Scope): number | undefined {
  const constant = value === undefined ? undefined : scope.constantTensor(value);
  return constant?.data.length === 1 ? realsOf(constant)?.[0] : undefined;
}

/** `value` and a number it is combined with. */
export interface Scalar {
  readonly value: string;
  readonly number: number;
}

/** x · c, as Mul or as Div by 1/c. */
export function scaledBy(node: Node | undefined, scope: Scope): Scalar | undefined {
  if (isOperator(node, 'Mul')) return withConstant(node, scope, (c) => c, [0, 1]);
  return isOperator(node, 'Div') ? withConstant(node, scope, (c) => 1 / c, [0]) : undefined;
}

/** x + c, as Add or as Sub of −c. */
export function shiftedBy(node: Node | undefined, scope: Scope): Scalar | undefined {
  if (isOperator(node, 'Add')) return withConstant(node, scope, (c) => c, [0, 1]);
  return isOperator(node, 'Sub') ? withConstant(node, scope, (c) => -c, [0]) : undefined;
}

function withConstant(
  node: Node,
  scope: Scope,
  number: (c: number) => number,
  sides: readonly number[],
): Scalar | undefined {
  for (const side of sides) {
    const constant = scalarConstant(node.inputs[1 - side], scope);
    if (constant !== undefined) return { value: node.inputs[side] ?? '', number: number(constant) };
  }
  return undefined;
}

/** Whether a constant is the number a formula has, up to how exporters round it. */
export function isNear(actual: number | undefined, expected: number): boolean {
  return actual !== undefined && Math.abs(actual - expected) <= 1e-4 * Math.max(Math.abs(expected), 1e-3);
}

/** Why a group of nodes cannot become one: a value inside it is seen from outside. */
export function leak(nodes: readonly Node[], last: Node, { graph }: Scope): string | undefined {
  const inside = new Set(nodes);
  for (const node of nodes) {
    if (node === last) continue;
    for (const value of node.outputs) {
      if (graph.isGraphOutput(value)) return `'${value}' is a graph output`;
      const other = graph.consumers(value).find((reader) => !inside.has(reader));
      if (other !== undefined) return `'${value}' is also read by ${describeNode(other)}`;
    }
  }
  return undefined;
}
