/** Gradients of reductions and softmax. */
import { FxqError } from '../../core/index.js';
import { describeNode, intAttribute, intsAttribute } from '../../onnx/index.js';
import { toNumbers } from '../../tensor/index.js';
import { type Program } from '../program.js';
import { normalizeAxes, rankOf, type Value } from '../value.js';
import { input, output, outputGradient, unary, type Differentiation, type GradientRule } from './rule.js';

/** Axes a reduction removes, from its attribute or its second input; `undefined` for all of them. */
function reducedAxes(p: Program, d: Differentiation): number[] | undefined {
  const x = input(d, 0);
  const given = d.inputs[1];
  const constant = p.tape.constantOf(given);
  if (given !== undefined && constant === undefined) {
    throw new FxqError(
      'E_UNSUPPORTED',
      `the axes of ${describeNode(d.node)} are computed; its gradient needs them to be constant`,
      'Fold constants in the model first.',
    );
  }
  const axes = constant === undefined ? intsAttribute(d.node, 'axes', []) : toNumbers(constant);
  if (axes.length > 0) return normalizeAxes(axes, rankOf(x)).sort((a, b) => a - b);
  return intAttribute(d.node, 'noop_with_empty_axes', 0) === 1 ? [] : undefined;
}

/**
 * A rule of a reduction, given g and y with the reduced axes restored as size 1. The result may keep that size: the walk
 * spreads it.
 */
function reduction(
  rule: (p: Program, g: Value, x: Value, y: Value, axes?: readonly number[]) => Value,
): GradientRule {
  return (p, d) => {
    const axes = reducedAxes(p, d);
    const kept = intAttribute(d.node, 'keepdims', 1) === 1;
    // A scalar needs no axes: it is broadcast as it is.
    const restore = (v: Value): Value =>
      kept || axes === undefined || axes.length === 0 ? v : p.unsqueeze(v, axes);
    return [rule(p, restore(outputGradient(d)), input(d, 0), restore(output(d)), axes)];
  };
}

/** Number of elements that one result sums, as a scalar of x's type. */
function reducedCount(p: Program, x: Value, axes?: readonly number[]): Value {
  const sizes = axes?.map((axis) => p.sizeAlong(x, axis)) ?? [p.sizeOf(x)];
  return p.cast(sizes.length === 0 ? p.int64s([1]) : sizes.reduce((a, b) => p.mul(a, b)), x.dtype);
}

/** The gradient goes to the elements that attain the extreme, in equal parts where several do. */
const extremum = reduction((p, g, x, y, axes) => {
  const hit = p.cast(p.equal(x, y), x.dtype);
  return p.mul(hit, p.div(g, p.reduceSum(hit, axes, true)));
});

export const REDUCTION = {
  ReduceSum: reduction((_p, g) => g),
  ReduceMean: reduction((p, g, x, _y, axes) => p.div(g, reducedCount(p, x, axes))),
  ReduceMax: extremum,
  ReduceMin: extremum,
  ReduceL1: reduction((p, g, x) => p.mul(g, p.sign(x))),
  ReduceL2: reduction((p, g, x, y) => p.mul(p.div(g, y), x)),
  ReduceSumSquare: reduction((p, g, x) => p.mul(p.mul(g, x), 2)),
  ReduceLogSumExp: reduction((p, g, x, y) => p.mul(g, p.exp(p.sub(x, y)))),
  ReduceLogSum: reduction((p, g, _x, y) => p.div(g, p.exp(y))),
  ReduceProd: reduction((p, g, x, y) => p.div(p.mul(g, y), x)),

  // A sum from the front is undone by one from the back.
  CumSum: (p, d) => [
    p.tape.op('CumSum', [outputGradient(d), input(d, 1)], input(d, 0), {
      exclusive: intAttribute(d.node, 'exclusive', 0),
      reverse: 1 - intAttribute(d.node, 'reverse', 0),
    }),
  ],

  // dx = y·(g − Σ g·y)
  Softmax: unary((p, g, _x, y, node) =>
    p.mul(y, p.sub(g, p.reduceSum(p.mul(g, y), [intAttribute(node, 'axis', -1)], true))),
  ),
  // dx = g − softmax(x)·Σ g
  LogSoftmax: unary((p, g, _x, y, node) =>
    p.sub(g, p.mul(p.exp(y), p.reduceSum(g, [intAttribute(node, 'axis', -1)], true))),
  ),
} as const satisfies Record<string, GradientRule>;
