/**
 * Replaces `x · clip(x + 3, 0, 6) / 6`, with the division in any place, and `x · HardSigmoid<1/6, 1/2>(x)` with
 * `HardSwish(x)` (Howard et al. 2019).
 */
import { floatAttribute, type Node } from '../../onnx/index.js';
import { type Fusion, type Spelling } from '../fusion.js';
import {
  isNear,
  isOperator,
  otherOperand,
  outputOf,
  producedBy,
  readersOf,
  scalarConstant,
  scaledBy,
  shiftedBy,
} from '../pattern.js';
import { type Scope } from '../scope.js';

export const hardSwish: Fusion = {
  name: 'fuse-hard-swish',
  operator: 'HardSwish',
  since: 14,
  pattern: (node, scope) => {
    if (isOperator(node, 'Clip')) return fromClip(node, scope);
    return isOperator(node, 'HardSigmoid') ? fromHardSigmoid(node, scope) : undefined;
  },
};

function fromHardSigmoid(gate: Node, scope: Scope): Spelling | undefined {
  const [x = ''] = gate.inputs;
  const [product] = readersOf(outputOf(gate), scope, 'Mul');
  const isGate =
    isNear(floatAttribute(gate, 'alpha', 0.2), 1 / 6) && isNear(floatAttribute(gate, 'beta', 0.5), 0.5);
  if (!isGate || product === undefined || otherOperand(product, outputOf(gate)) !== x) return undefined;
  return { nodes: [gate, product], last: product, inputs: [x] };
}

function fromClip(clip: Node, scope: Scope): Spelling | undefined {
  const sum = producedBy(clip.inputs[0], scope, 'Add', 'Sub');
  const argument = shiftedBy(sum, scope);
  if (sum === undefined || argument === undefined || !isNear(argument.number, 3)) return undefined;
  if (!isNear(limit(clip, 1, 'min', scope), 0) || !isNear(limit(clip, 2, 'max', scope), 6)) return undefined;
  const x = argument.value;
  const [first] = readersOf(outputOf(clip), scope, 'Mul', 'Div');
  const [second] = first === undefined ? [] : readersOf(outputOf(first), scope, 'Mul', 'Div');
  if (first === undefined || second === undefined) return undefined;
  // The product with x and the division by 6, in either order.
  const isProduct = (node: Node, gate: string): boolean =>
    isOperator(node, 'Mul') && otherOperand(node, gate) === x;
  const isSixth = (node: Node): boolean => isNear(scaledBy(node, scope)?.number, 1 / 6);
  const isSpelled =
    (isProduct(first, outputOf(clip)) && isSixth(second)) ||
    (isSixth(first) && isProduct(second, outputOf(first)));
  return isSpelled ? { nodes: [sum, clip, first, second], last: second, inputs: [x] } : undefined;
}

/** A limit of Clip: an input, or an attribute before opset 11. */
function limit(clip: Node, input: number, attribute: string, scope: Scope): number | undefined {
  if (clip.attributes.has(attribute)) return floatAttribute(clip, attribute, NaN);
  return scalarConstant(clip.inputs[input], scope);
}
