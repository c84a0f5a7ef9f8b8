/** Tensors on the host: element type, dimensions, data. */
import { FxqError } from '../core/index.js';
import { createArray, type DType, type TypedArray } from './dtype.js';
import { bfloat16ToNumber, float16ToNumber } from './float16.js';

export interface Tensor<D extends DType = DType> {
  readonly dtype: D;
  readonly dims: readonly number[];
  /** Row-major. Sub-byte types hold one element a byte; float16, bfloat16 and float8 hold bit patterns. */
  readonly data: TypedArray;
}

/** Number of elements of a shape; 1 for a scalar. */
export function sizeOf(dims: readonly number[]): number {
  return dims.reduce((product, d) => product * d, 1);
}

/** Creates a tensor; zero-filled when no data is given. Numbers are rounded into the array's type as JavaScript does. */
export function tensor<D extends DType>(
  dtype: D,
  dims: readonly number[],
  data?: TypedArray | readonly number[] | readonly bigint[],
): Tensor<D> {
  const length = sizeOf(dims);
  if (data !== undefined && data.length !== length) {
    throw new FxqError('E_INTERNAL', `internal: ${data.length} elements for shape [${dims.join(', ')}]`);
  }
  if (data === undefined) return { dtype, dims, data: createArray(dtype, length) };
  if (ArrayBuffer.isView(data)) return { dtype, dims, data };
  const out = createArray(dtype, length);
  if (out instanceof BigInt64Array || out instanceof BigUint64Array)
    out.set(Array.from(data as ArrayLike<number | bigint>, (v) => BigInt(v)));
  else out.set(data as readonly number[]);
  return { dtype, dims, data: out };
}

/** float32 copy of a numeric tensor's values (the same array when it already is float32). */
export function toFloat32(t: Tensor): Float32Array {
  const { data, dtype } = t;
  if (data instanceof Float32Array) return data;
  if (dtype === 'float16') return Float32Array.from(data as Uint16Array, float16ToNumber);
  if (dtype === 'bfloat16') return Float32Array.from(data as Uint16Array, bfloat16ToNumber);
  if (data instanceof BigInt64Array || data instanceof BigUint64Array) return Float32Array.from(data, Number);
  return Float32Array.from(data as Float64Array);
}

/** The values of an integer tensor as numbers (for shapes, axes, indices). */
export function toNumbers(t: Tensor): number[] {
  return Array.from(t.data as ArrayLike<number | bigint>, Number);
}

/** Row-major strides of a shape. */
export function stridesOf(dims: readonly number[]): number[] {
  const strides = new Array<number>(dims.length).fill(1);
  for (let i = dims.length - 2; i >= 0; i--) strides[i] = (strides[i + 1] ?? 1) * (dims[i + 1] ?? 1);
  return strides;
}
