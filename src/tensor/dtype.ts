/** Element types of ONNX tensors: code, width, host array, and packing of those narrower than a byte. */
import { FxqError } from '../core/index.js';

export type TypedArray =
  | Float32Array
  | Float64Array
  | Int8Array
  | Uint8Array
  | Int16Array
  | Uint16Array
  | Int32Array
  | Uint32Array
  | BigInt64Array
  | BigUint64Array;

interface ElementType {
  /** Value of `TensorProto.DataType`. */
  readonly code: number;
  /** Storage bits of one element. */
  readonly bits: number;
  /** Host array; types without a JavaScript equivalent are held as their bit patterns, sub-byte types one a byte. */
  readonly array: new (length: number) => TypedArray;
  /** First opset whose standard operators know the type, where it is later than 7. */
  readonly opset?: number;
}

/** Every numeric element type of ONNX IR 13 (strings are held apart). */
export const ELEMENT_TYPES = {
  float32: { code: 1, bits: 32, array: Float32Array },
  uint8: { code: 2, bits: 8, array: Uint8Array },
  int8: { code: 3, bits: 8, array: Int8Array },
  uint16: { code: 4, bits: 16, array: Uint16Array },
  int16: { code: 5, bits: 16, array: Int16Array },
  int32: { code: 6, bits: 32, array: Int32Array },
  int64: { code: 7, bits: 64, array: BigInt64Array },
  bool: { code: 9, bits: 8, array: Uint8Array },
  float16: { code: 10, bits: 16, array: Uint16Array },
  float64: { code: 11, bits: 64, array: Float64Array },
  uint32: { code: 12, bits: 32, array: Uint32Array },
  uint64: { code: 13, bits: 64, array: BigUint64Array },
  complex64: { code: 14, bits: 64, array: BigUint64Array },
  bfloat16: { code: 16, bits: 16, array: Uint16Array, opset: 13 },
  float8e4m3fn: { code: 17, bits: 8, array: Uint8Array, opset: 19 },
  float8e4m3fnuz: { code: 18, bits: 8, array: Uint8Array, opset: 19 },
  float8e5m2: { code: 19, bits: 8, array: Uint8Array, opset: 19 },
  float8e5m2fnuz: { code: 20, bits: 8, array: Uint8Array, opset: 19 },
  uint4: { code: 21, bits: 4, array: Uint8Array, opset: 21 },
  int4: { code: 22, bits: 4, array: Int8Array, opset: 21 },
  float4e2m1: { code: 23, bits: 4, array: Uint8Array, opset: 23 },
  float8e8m0: { code: 24, bits: 8, array: Uint8Array, opset: 24 },
  uint2: { code: 25, bits: 2, array: Uint8Array, opset: 25 },
  int2: { code: 26, bits: 2, array: Int8Array, opset: 25 },
} as const satisfies Record<string, ElementType>;

export type DType = keyof typeof ELEMENT_TYPES;

const BY_CODE = new Map<number, DType>(
  (Object.keys(ELEMENT_TYPES) as DType[]).map((name) => [ELEMENT_TYPES[name].code, name]),
);

/** The element type with this `TensorProto.DataType`, or undefined (strings, complex128, unknown codes). */
export function dtypeFromCode(code: number): DType | undefined {
  return BY_CODE.get(code);
}

export function dtypeCode(dtype: DType): number {
  return ELEMENT_TYPES[dtype].code;
}

export function dtypeBits(dtype: DType): number {
  return ELEMENT_TYPES[dtype].bits;
}

/** First opset that knows the element type (7 for the classic ones). */
export function dtypeOpset(dtype: DType): number {
  const row: ElementType = ELEMENT_TYPES[dtype];
  return row.opset ?? 7;
}

/** A zero-filled host array of `length` elements. */
export function createArray(dtype: DType, length: number): TypedArray {
  return new ELEMENT_TYPES[dtype].array(length);
}

/** Bytes that `length` elements take in `raw_data`: sub-byte types are packed, rounded up to a whole byte. */
export function storedBytes(dtype: DType, length: number): number {
  return Math.ceil((length * dtypeBits(dtype)) / 8);
}

const SIGNED_NARROW = new Set<DType>(['int4', 'int2']);

/** Host array from `raw_data` bytes (little-endian, sub-byte types packed low bits first). Copies. */
export function unpack(dtype: DType, bytes: Uint8Array, length: number): TypedArray {
  const expected = storedBytes(dtype, length);
  if (bytes.length !== expected) {
    throw new FxqError(
      'E_MODEL',
      `${length} elements of ${dtype} take ${expected} bytes, found ${bytes.length}`,
    );
  }
  const out = createArray(dtype, length);
  const bits = dtypeBits(dtype);
  if (bits >= 8) {
    new Uint8Array(out.buffer, out.byteOffset, out.byteLength).set(bytes);
    return out;
  }
  const perByte = 8 / bits;
  const mask = (1 << bits) - 1;
  const shiftUp = 32 - bits;
  const signed = SIGNED_NARROW.has(dtype);
  const narrow = out as Uint8Array | Int8Array;
  for (let i = 0; i < length; i++) {
    const code = ((bytes[Math.floor(i / perByte)] ?? 0) >> ((i % perByte) * bits)) & mask;
    narrow[i] = signed ? (code << shiftUp) >> shiftUp : code;
  }
  return out;
}

/** `raw_data` bytes of a host array; inverse of {@link unpack}. May alias the array's memory when nothing is packed. */
export function pack(dtype: DType, data: TypedArray): Uint8Array {
  const bits = dtypeBits(dtype);
  if (bits >= 8) return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
  const perByte = 8 / bits;
  const mask = (1 << bits) - 1;
  const bytes = new Uint8Array(storedBytes(dtype, data.length));
  const narrow = data as Uint8Array | Int8Array;
  for (let i = 0; i < narrow.length; i++) {
    const at = Math.floor(i / perByte);
    bytes[at] = (bytes[at] ?? 0) | (((narrow[i] ?? 0) & mask) << ((i % perByte) * bits));
  }
  return bytes;
}

/** Lowest and highest integer of an integer element type. */
export function integerRange(dtype: DType): { low: number; high: number } {
  const bits = dtypeBits(dtype);
  return dtype.startsWith('u')
    ? { low: 0, high: 2 ** bits - 1 }
    : { low: -(2 ** (bits - 1)), high: 2 ** (bits - 1) - 1 };
}
