/** What a gradient rule is: from a node and the gradients of its outputs to those of its inputs. */
import { required } from '../../core/index.js';
import { describeNode, type Node } from '../../onnx/index.js';
import { type Program } from '../program.js';
import { type Value } from '../value.js';

/** A node being differentiated. */
export interface Differentiation {
  readonly node: Node;
  /** `undefined` for an omitted optional input. */
  readonly inputs: readonly (Value | undefined)[];
  readonly outputs: readonly (Value | undefined)[];
  /** Gradient of the loss by each output; `undefined` where the loss does not depend on it. */
  readonly gradients: readonly (Value | undefined)[];
}

/**
 * Gradients of the inputs, by position; `undefined` or left out for an input that gets none. A gradient may have the
 * broadcast shape of the output: the walk sums it back to the input's. What nothing needs costs nothing, because
 * compilation drops it.
 */
export type GradientRule = (p: Program, d: Differentiation) => readonly (Value | undefined)[];

/** An input that the operator requires. */
export function input(d: Differentiation, index: number): Value {
  return required(d.inputs[index], `input ${index} of ${describeNode(d.node)}`);
}

/** First output of the node. */
export function output(d: Differentiation): Value {
  return required(d.outputs[0], `output of ${describeNode(d.node)}`);
}

/** Gradient of the first output. */
export function outputGradient(d: Differentiation): Value {
  return required(d.gradients[0], `gradient of ${describeNode(d.node)}`);
}

/** A rule of one differentiable input x and one output y, given the output's gradient g. */
export function unary(rule: (p: Program, g: Value, x: Value, y: Value, node: Node) => Value): GradientRule {
  return (p, d) => [rule(p, outputGradient(d), input(d, 0), output(d), d.node)];
}

/** A rule of two inputs a, b and one output y. */
export function binary(
  rule: (
    p: Program,
    g: Value,
    a: Value,
    b: Value,
    y: Value,
    node: Node,
  ) => readonly [Value | undefined, Value | undefined],
): GradientRule {
  return (p, d) => rule(p, outputGradient(d), input(d, 0), input(d, 1), output(d), d.node);
}

/** A rule of operators that are constant almost everywhere. */
export const zero: GradientRule = () => [];
