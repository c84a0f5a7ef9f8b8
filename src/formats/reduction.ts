/** Weights as matrices: which of a tensor's elements are summed over by the layer that uses it, in which order. */
import { sizeOf, stridesOf } from '../tensor/index.js';

/** What a layer sums over. */
export interface Reduction {
  /** Axes of the tensor, ascending. */
  readonly axes: readonly number[];
  /** Independent parts that axis 0 is split into before. */
  readonly groups: number;
}

/** A tensor as a matrix of one row an output and one column a term: reshaped to `split`, transposed by `perm`. */
export interface ReductionMatrix {
  readonly rows: number;
  readonly cols: number;
  /** The tensor's shape, with axis 0 split by groups where it is summed over. */
  readonly split: readonly number[];
  /** Axes of `split`: those of outputs, then those summed over. */
  readonly perm: readonly number[];
}

/** The matrix of a tensor of shape `dims`. */
export function reductionMatrix(dims: readonly number[], { axes, groups }: Reduction): ReductionMatrix {
  const isSplit = groups > 1 && axes.includes(0);
  const [first = 1, ...rest] = dims;
  const split = isSplit ? [groups, first / groups, ...rest] : dims;
  const summed = isSplit ? axes.map((axis) => axis + 1) : axes;
  const kept = split.map((_, axis) => axis).filter((axis) => !summed.includes(axis));
  const size = (part: readonly number[]): number => sizeOf(part.map((axis) => split[axis] as number));
  return { rows: size(kept), cols: size(summed), split, perm: [...kept, ...summed] };
}

/** Whether the tensor's elements are in matrix order already. */
export function isInOrder({ perm }: ReductionMatrix): boolean {
  return perm.every((axis, i) => axis === i);
}

/** Index into the tensor of every element of the matrix, row-major. */
export function elementOrder({ split, perm }: ReductionMatrix): Int32Array {
  const strides = stridesOf(split);
  const order = new Int32Array(sizeOf(split));
  const extents = perm.map((axis) => split[axis] as number);
  const steps = perm.map((axis) => strides[axis] as number);
  const place = extents.map(() => 0);
  for (let i = 0, index = 0; i < order.length; i++) {
    order[i] = index;
    for (let k = perm.length - 1; k >= 0; k--) {
      index += steps[k] as number;
      place[k] = (place[k] as number) + 1;
      if ((place[k] as number) < (extents[k] as number)) break;
      index -= (steps[k] as number) * (extents[k] as number);
      place[k] = 0;
    }
  }
  return order;
}
