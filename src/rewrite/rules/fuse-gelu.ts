/** Replaces `x · (1 + erf(x / √2)) / 2`, with its factors in any order, with `Gelu(x)` (Hendrycks & Gimpel 2016). */
import { type Node } from '../../onnx/index.js';
import { type Fusion, type Spelling } from '../fusion.js';
import {
  isNear,
  isOperator,
  otherOperand,
  outputOf,
  producedBy,
  readersOf,
  scaledBy,
  shiftedBy,
} from '../pattern.js';
import { type Scope } from '../scope.js';

export const gelu: Fusion = {
  name: 'fuse-gelu',
  operator: 'Gelu',
  since: 20,

  pattern: (erf, scope) => {
    if (!isOperator(erf, 'Erf')) return undefined;
    const division = producedBy(erf.inputs[0], scope, 'Div', 'Mul');
    const argument = scaledBy(division, scope);
    const [sum] = readersOf(outputOf(erf), scope, 'Add');
    if (division === undefined || argument === undefined || !isNear(argument.number, Math.SQRT1_2))
      return undefined;
    if (sum === undefined || !isNear(shiftedBy(sum, scope)?.number, 1)) return undefined;
    const product = halvedProduct(argument.value, sum, scope);
    return product && { ...product, nodes: [division, erf, sum, ...product.nodes], inputs: [argument.value] };
  },
};

/** Whether a node is the last of a spelled-out Gelu. */
export function endsGelu(node: Node, scope: Scope): boolean {
  // Backwards from the last product: at most one node lies between it and 1 + erf(…).
  const operands = (n: Node): Node[] =>
    n.inputs.flatMap((name) => producedBy(name, scope, 'Mul', 'Div', 'Add') ?? []);
  const sums = [node, ...operands(node)].flatMap(operands).filter((n) => isOperator(n, 'Add'));
  return sums.some((sum) => {
    const erf = sum.inputs.map((name) => producedBy(name, scope, 'Erf')).find((n) => n !== undefined);
    return erf !== undefined && gelu.pattern(erf, scope)?.last === node;
  });
}

/** x · s · ½ behind s = 1 + erf(…): as (s · x) · ½, (s · ½) · x, or s · (x · ½). */
function halvedProduct(x: string, sum: Node, scope: Scope): Pick<Spelling, 'nodes' | 'last'> | undefined {
  const [first] = readersOf(outputOf(sum), scope, 'Mul', 'Div');
  if (first === undefined) return undefined;
  const factor = otherOperand(first, outputOf(sum));
  const half = producedBy(factor, scope, 'Mul', 'Div');
  const scaled = scaledBy(half, scope);
  if (half !== undefined && scaled?.value === x && isNear(scaled.number, 0.5))
    return { nodes: [half, first], last: first };
  const [second] = readersOf(outputOf(first), scope, 'Mul', 'Div');
  if (second === undefined) return undefined;
  const isHalfLast = factor === x && isNear(scaledBy(second, scope)?.number, 0.5);
  const isHalfFirst =
    isNear(scaledBy(first, scope)?.number, 0.5) &&
    isOperator(second, 'Mul') &&
    otherOperand(second, outputOf(first)) === x;
  return isHalfLast || isHalfFirst ? { nodes: [first, second], last: second } : undefined;
}
