/** Reductions and softmax: operators along axes. */
import { tensor } from '../../tensor/index.js';
import { type Tape } from '../tape.js';
import { dimsOf, normalizeAxes, type Value, type ValueType } from '../value.js';

/** The reducing operators of a program. Without axes they reduce all of them. */
export function reductionOps(t: Tape) {
  const reduce =
    (opType: string) =>
    (x: Value, axes?: readonly number[], keepDims = false): Value =>
      t.op(
        opType,
        axes === undefined ? [x] : [x, t.constant(tensor('int64', [axes.length], axes), 'axes')],
        { dtype: x.dtype, dims: reducedDims(x, axes, keepDims) },
        { keepdims: keepDims ? 1 : 0 },
      );
  const along =
    (opType: string) =>
    (x: Value, axis = -1): Value =>
      t.op(opType, [x], x, { axis });
  return {
    reduceSum: reduce('ReduceSum'),
    reduceMean: reduce('ReduceMean'),
    reduceMax: reduce('ReduceMax'),
    reduceMin: reduce('ReduceMin'),
    reduceProd: reduce('ReduceProd'),
    reduceL1: reduce('ReduceL1'),
    reduceL2: reduce('ReduceL2'),
    reduceLogSumExp: reduce('ReduceLogSumExp'),
    reduceSumSquare: reduce('ReduceSumSquare'),
    /** Index of the largest element along an axis, which is dropped; int64. */
    argMax: (x: Value, axis = -1): Value =>
      t.op('ArgMax', [x], { dtype: 'int64', dims: reducedDims(x, [axis], false) }, { axis, keepdims: 0 }),
    softmax: along('Softmax'),
    logSoftmax: along('LogSoftmax'),
  };
}

/** Shape after reducing over axes. */
export function reducedDims(
  x: Value,
  axes: readonly number[] | undefined,
  keepDims: boolean,
): ValueType['dims'] {
  if (axes === undefined && !keepDims) return [];
  const dims = dimsOf(x);
  const reduced = new Set(axes === undefined ? dims.keys() : normalizeAxes(axes, dims.length));
  return keepDims ? dims.map((d, i) => (reduced.has(i) ? 1 : d)) : dims.filter((_, i) => !reduced.has(i));
}
