/** Reverse mode: from the gradients of some values to those of the values they were computed from. */
import { FxqError } from '../../core/index.js';
import { describeNode, namesRead } from '../../onnx/index.js';
import { isValue, type Program } from '../program.js';
import { type Step } from '../tape.js';
import { leaves, mapTree, type Tree } from '../tree.js';
import { describeType, isFloat, rankOf, sameShape, type Value } from '../value.js';
import { BROADCASTING, ELEMENTWISE_OPERATORS, GRADIENTS } from './table.js';

/**
 * Gradients of a scalar by each target, nested like the targets. A target the scalar does not depend on gets zeros.
 *
 * @throws FxqError E_UNSUPPORTED naming operator and node where a rule is missing
 */
export function gradients<T extends Tree<Value>>(p: Program, loss: Value, targets: T): T {
  if (loss.dims?.length !== 0) {
    throw new FxqError('E_INTERNAL', `internal: a loss must be a scalar, not ${describeType(loss)}`);
  }
  return pullBack(p, [[loss, p.scalar(1, loss.dtype)]], targets);
}

/**
 * Reverse mode from several values at once: Σ ⟨seed, ∂value/∂target⟩ for every target. Values are differentiated as far
 * as this builder recorded them; in a loop body, what was made outside is constant.
 *
 * @param seeds pairs of a value and the gradient it is given, of the value's shape
 * @throws FxqError E_UNSUPPORTED naming operator and node where a rule is missing
 */
export function pullBack<T extends Tree<Value>>(
  p: Program,
  seeds: readonly (readonly [Value, Value])[],
  targets: T,
): T {
  const steps = [...p.tape.steps];
  const active = dependents(p, steps, leaves<Value>(targets, isValue));
  const sums = new Map<string, Value>();
  const contribute = (value: Value | undefined, gradient: Value | undefined, exact: boolean): void => {
    if (value === undefined || gradient === undefined || !active.has(value.name)) return;
    const fitted = unbroadcast(p, gradient, value, exact);
    const sum = sums.get(value.name);
    sums.set(value.name, sum === undefined ? fitted : p.add(sum, fitted));
  };
  const total = (value: Value): Value | undefined => {
    const sum = sums.get(value.name);
    return sum === undefined ? undefined : spread(p, sum, value);
  };
  for (const [value, gradient] of seeds) contribute(value, gradient, true);

  for (const step of steps.reverse()) {
    const outputs = step.outputs.filter((y) => y !== undefined && active.has(y.name) && sums.has(y.name));
    if (outputs.length === 0) continue;
    const [first] = outputs as [Value];
    const custom = p.tape.customGradient(first);
    if (custom !== undefined) {
      const shares = custom.rule(total(first) as Value);
      custom.inputs.forEach((x, i) => contribute(x, shares[i], false));
    } else if (readsAny(step, active)) {
      const keep = ELEMENTWISE_OPERATORS.has(step.node.opType) && !broadcasts(step, active);
      const gradientOf = (y: Value) => (keep ? sums.get(y.name) : total(y));
      const shares = ruleOf(step)(p, {
        ...step,
        gradients: step.outputs.map((y) => (y === undefined ? undefined : gradientOf(y))),
      });
      step.inputs.forEach((x, i) => contribute(x, shares[i], !BROADCASTING.has(step.node.opType)));
    }
  }
  return mapTree<Value, Value>(targets, isValue, (target) => total(target) ?? p.fullLike(target, 0)) as T;
}

/**
 * Names of the values through which a target can act: the targets and every float value computed from one.
 *
 * @throws FxqError E_UNSUPPORTED for half precision
 */
function dependents(p: Program, steps: readonly Step[], targets: readonly Value[]): Set<string> {
  const active = new Set(targets.map((t) => t.name));
  for (const step of steps) {
    for (const y of step.outputs) {
      if (y === undefined || !isFloat(y)) continue;
      const custom = p.tape.customGradient(y);
      if (!(custom?.inputs.some((x) => active.has(x.name)) ?? readsAny(step, active))) continue;
      if (y.dtype !== 'float32' && y.dtype !== 'float64') {
        throw new FxqError(
          'E_UNSUPPORTED',
          `gradients need float32 or float64, but ${describeNode(step.node)} computes ${y.dtype}`,
          'Convert the model to float32.',
        );
      }
      active.add(y.name);
    }
  }
  return active;
}

/** Whether a node reads one of the values, itself or in a subgraph. */
function readsAny({ node }: Step, names: ReadonlySet<string>): boolean {
  return [...namesRead(node)].some((name) => names.has(name));
}

/**
 * Whether an input that gets a gradient may be smaller than the output. Where none is, a gradient with axes of size 1 goes
 * through an element-wise operator as it is.
 */
function broadcasts({ inputs, outputs }: Step, active: ReadonlySet<string>): boolean {
  return inputs.some((x) => x !== undefined && active.has(x.name) && !sameShape(x.dims, outputs[0]?.dims));
}

function ruleOf({ node }: Step) {
  const rule = node.domain === '' ? GRADIENTS.get(node.opType) : undefined;
  if (rule === undefined) {
    const operator = node.domain === '' ? node.opType : `${node.domain}.${node.opType}`;
    throw new FxqError(
      'E_UNSUPPORTED',
      `there is no gradient rule for operator ${operator} of node ${describeNode(node)}`,
      'Choose a solver that needs no gradients for this part of the model, or exclude the node.',
    );
  }
  return rule;
}

/**
 * Sums a gradient over the axes along which its value was broadcast. `exact` promises that the shapes are the same even
 * where they are not known before running. Axes of size 1 stay so until {@link spread}.
 */
function unbroadcast(p: Program, gradient: Value, value: Value, exact: boolean): Value {
  if (sameShape(gradient.dims, value.dims)) return gradient;
  const axes = repeatedAxes(gradient, value);
  if (axes !== undefined) return sumOver(p, gradient, axes, rankOf(gradient) - rankOf(value));
  return exact ? gradient : sumWhenRunning(p, gradient, value);
}

/** Axes of the gradient that the value has only once or not at all; undefined where the shapes leave it open. */
function repeatedAxes(gradient: Value, value: Value): number[] | undefined {
  if (gradient.dims === undefined || value.dims === undefined) return undefined;
  const offset = gradient.dims.length - value.dims.length;
  const axes: number[] = [];
  for (const [i, d] of gradient.dims.entries()) {
    const own = i < offset ? 1 : (value.dims[i - offset] ?? null);
    if (d === 1 || (d === own && d !== null)) {
      if (i < offset) axes.push(i);
    } else if (own === 1) axes.push(i);
    else if (typeof d !== 'number' || typeof own !== 'number') return undefined;
  }
  return axes;
}

function sumOver(p: Program, gradient: Value, axes: readonly number[], missing: number): Value {
  const sum = axes.length === 0 ? gradient : p.reduceSum(gradient, axes, true);
  return missing <= 0 ? sum : p.squeeze(sum, [...Array(missing).keys()]);
}

/** The same with the axes found when running: those of size 1 in the value, and those it does not have. */
function sumWhenRunning(p: Program, gradient: Value, value: Value): Value {
  const shape = p.shapeOf(gradient);
  const own = p.shapeOf(value);
  const ones = p.expand(p.int64s([1]), p.sub(p.shapeOf(shape), p.shapeOf(own)), [null]);
  const repeated = p.tape.op('NonZero', [p.equal(p.concat([ones, own], 0), 1)], {
    dtype: 'int64',
    dims: [1, null],
  });
  const sum = p.tape.op(
    'ReduceSum',
    [gradient, p.squeeze(repeated, [0])],
    { dtype: gradient.dtype, dims: undefined },
    { keepdims: 1, noop_with_empty_axes: 1 },
  );
  return p.reshapeLike(sum, value);
}

/** A gradient in the full shape of its value: an axis of size 1 stands for equal parts along it. */
function spread(p: Program, gradient: Value, value: Value): Value {
  const { dims } = gradient;
  if (dims === undefined || sameShape(dims, value.dims)) return gradient;
  const offset = value.dims === undefined ? 1 : value.dims.length - dims.length;
  const narrow = offset > 0 || dims.some((d, i) => d === 1 && value.dims?.[i + offset] !== 1);
  return narrow ? p.expandLike(gradient, value) : gradient;
}
