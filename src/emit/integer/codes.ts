/** Tensors of integers in the interpreter, and index maps between shapes. */
import { sizeOf, stridesOf } from '../../tensor/index.js';

export interface Codes {
  readonly dims: readonly number[];
  readonly data: Int32Array;
}

/** Shape that several shapes broadcast to, by the rules of ONNX. */
export function broadcastDims(shapes: readonly (readonly number[])[]): number[] {
  const rank = Math.max(...shapes.map((dims) => dims.length));
  return Array.from({ length: rank }, (_, axis) =>
    shapes.reduce((extent, dims) => {
      const d = dims[axis - (rank - dims.length)] ?? 1;
      return extent === 1 ? d : extent;
    }, 1),
  );
}

/** For every element of `target`, the index of the element of a tensor of shape `dims` that it broadcasts from. */
export function broadcastIndex(dims: readonly number[], target: readonly number[]): Int32Array {
  const lead = target.length - dims.length;
  const own = stridesOf(dims);
  const strides = target.map((_, axis) => ((dims[axis - lead] ?? 1) === 1 ? 0 : (own[axis - lead] ?? 0)));
  return stridedIndex(target, strides, 0);
}

/** Index `offset + Σ position · stride` for every position of a shape, row-major. */
export function stridedIndex(
  dims: readonly number[],
  strides: readonly number[],
  offset: number,
): Int32Array {
  const index = new Int32Array(sizeOf(dims));
  const position = dims.map(() => 0);
  let at = offset;
  for (let i = 0; i < index.length; i++) {
    index[i] = at;
    for (let axis = dims.length - 1; axis >= 0; axis--) {
      const stride = strides[axis] ?? 0;
      at += stride;
      const next = (position[axis] ?? 0) + 1;
      if (next < (dims[axis] ?? 1)) {
        position[axis] = next;
        break;
      }
      position[axis] = 0;
      at -= next * stride;
    }
  }
  return index;
}

/** The elements at an index map. */
export function take(data: Int32Array, index: Int32Array): Int32Array {
  return index.map((at) => data[at] as number);
}
