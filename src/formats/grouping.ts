/** Which elements of a tensor share a scale. */
import { sizeOf, stridesOf } from '../tensor/index.js';

export interface Grouping {
  /** Number of groups; scales are numbered as in the shape ONNX gives them. */
  readonly count: number;
  /** Group of the element at a row-major index. */
  of(index: number): number;
}

/** One group. */
export const WHOLE_TENSOR: Grouping = { count: 1, of: () => 0 };

/** A group for every index along `axis`. */
export function byChannel(dims: readonly number[], axis: number): Grouping {
  const count = dims[axis] ?? 1;
  const inner = stridesOf(dims)[axis] ?? 1;
  return { count, of: (index) => Math.floor(index / inner) % count };
}

/**
 * Runs of `size` elements along `axis`, the last one possibly shorter. Groups are numbered row-major in the shape of
 * the tensor with `axis` shortened to the number of blocks: the layout of blocked scales in ONNX.
 */
export function byBlock(dims: readonly number[], axis: number, size: number): Grouping {
  const extent = dims[axis] ?? 1;
  const blocks = Math.ceil(extent / size);
  const inner = stridesOf(dims)[axis] ?? 1;
  const count = extent === 0 ? 0 : (sizeOf(dims) / extent) * blocks;
  return {
    count,
    of: (index) => {
      const row = Math.floor(index / inner);
      const at = row % extent;
      const outer = (row - at) / extent;
      return (outer * blocks + Math.floor(at / size)) * inner + (index % inner);
    },
  };
}
