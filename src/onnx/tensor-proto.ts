/** TensorProto messages to stored tensors and back: all the ways ONNX lays out elements. */
import { FxqError } from '../core/index.js';
import {
  createArray,
  dtypeBits,
  dtypeFromCode,
  ELEMENT_TYPES,
  pack,
  sizeOf,
  storedBytes,
  unpack,
  type DType,
  type TypedArray,
} from '../tensor/index.js';
import { locateExternal, readExternal, type Origin } from './external-data.js';
import { type StoredTensor } from './model.js';
import {
  isSet,
  otherFields,
  toBigInt,
  toLong,
  toNumber,
  type StringStringProto,
  type TensorProto,
} from './proto.js';
import { loadTensor } from './stored-tensor.js';

/** `TensorProto.DataType` codes outside the table of numeric types. */
const STRING = 8;
const COMPLEX128 = 15;
/** `TensorProto.DataLocation.EXTERNAL`. */
const EXTERNAL = 1;

const ELEMENTS = [
  'rawData',
  'floatData',
  'int32Data',
  'int64Data',
  'doubleData',
  'uint64Data',
  'externalData',
] as const;

/** Decides where a tensor's elements go: undefined keeps them in the message, else the external entries to write. */
export type Placement = (name: string, stored: StoredTensor) => StringStringProto[] | undefined;

export const INLINE: Placement = () => undefined;

/**
 * Decodes a tensor; external elements are located but not read.
 *
 * @param owner what the tensor is, for messages: `initializer 'w'`
 * @param named whether the caller keeps the name (of an initializer); otherwise it stays in `rest`
 * @throws FxqError E_MODEL for an unknown element type or a wrong number of elements, E_EXTERNAL_DATA
 */
export function decodeTensor(proto: TensorProto, owner: string, origin: Origin, named = false): StoredTensor {
  const bad = (why: string): FxqError =>
    new FxqError('E_MODEL', `${origin.what}: ${owner} ${why}`, 'The file is damaged; export it again.');
  const dims = (proto.dims ?? []).map(toNumber);
  if (!dims.every((d) => Number.isSafeInteger(d) && d >= 0)) throw bad(`has the shape [${dims.join(', ')}]`);
  const code = proto.dataType ?? 0;
  const dtype = code === STRING ? 'string' : dtypeFromCode(code);
  if (dtype === undefined && code !== COMPLEX128) throw bad(`has the unknown element type ${code}`);
  const length = sizeOf(dims);
  const external = isExternal(proto);

  if (dtype === undefined || dtype === 'string' || isSet(proto, 'segment')) {
    if (external) embedExternal(proto, owner, origin);
    const found = proto.stringData?.length ?? 0;
    if (dtype === 'string' && found !== length)
      throw bad(`has ${found} strings for shape [${dims.join(', ')}]`);
    return { dtype, dims, source: { kind: 'opaque' }, rest: otherFields(proto, named ? ['name'] : []) };
  }
  const rest = otherFields(proto, [
    'dims',
    'dataType',
    ...ELEMENTS,
    ...(named ? (['name'] as const) : []),
    ...(external ? (['dataLocation'] as const) : []),
  ]);
  if (external) {
    const bytes = storedBytes(dtype, length);
    return { dtype, dims, source: locateExternal(proto.externalData ?? [], bytes, owner, origin), rest };
  }
  try {
    return {
      dtype,
      dims,
      source: { kind: 'memory', tensor: { dtype, dims, data: elements(proto, dtype, length) } },
      rest,
    };
  } catch (error) {
    if (error instanceof FxqError) throw bad(`is inconsistent: ${error.message}`);
    throw error;
  }
}

function elements(proto: TensorProto, dtype: DType, length: number): TypedArray {
  if (proto.rawData !== undefined && proto.rawData.length > 0) return unpack(dtype, proto.rawData, length);
  const typed = typedElements(proto, dtype, length);
  if (typed.length !== length)
    throw new FxqError('E_MODEL', `${typed.length} elements instead of ${length} of ${dtype}`);
  return typed;
}

/** Elements from the typed repeated fields (`float_data`, `int32_data`, …). */
function typedElements(proto: TensorProto, dtype: DType, length: number): TypedArray {
  switch (dtype) {
    case 'float32':
      return Float32Array.from(proto.floatData ?? []);
    case 'float64':
      return Float64Array.from(proto.doubleData ?? []);
    case 'int64':
      return BigInt64Array.from((proto.int64Data ?? []).map(toBigInt));
    case 'uint64':
      return BigUint64Array.from((proto.uint64Data ?? []).map(toBigInt));
    case 'uint32':
      return Uint32Array.from((proto.uint64Data ?? []).map(toNumber));
    case 'complex64': {
      const pairs = Float32Array.from(proto.floatData ?? []);
      if (pairs.length % 2 !== 0) throw new FxqError('E_MODEL', 'half a complex number');
      return new BigUint64Array(pairs.buffer);
    }
    default: {
      const values = proto.int32Data ?? [];
      // Sub-byte elements come packed, one byte of pairs or quadruples in each int32.
      if (dtypeBits(dtype) < 8) return unpack(dtype, Uint8Array.from(values), length);
      const out = createArray(dtype, values.length) as Int32Array;
      out.set(values);
      return out;
    }
  }
}

/**
 * Encodes a tensor, with its elements as `raw_data` or, where `placement` says so, as a reference to a file.
 *
 * @param name of the initializer; '' for a tensor attribute, whose name (if any) is in `rest`
 */
export function encodeTensor(name: string, stored: StoredTensor, placement: Placement = INLINE): TensorProto {
  const { source, dtype, dims, rest } = stored;
  const head: TensorProto = { ...rest, ...(name !== '' && { name }) };
  if (source.kind === 'opaque' || dtype === undefined || dtype === 'string') return head;
  head.dims = dims.map(toLong);
  head.dataType = ELEMENT_TYPES[dtype].code;
  const called = name === '' ? 'a tensor attribute' : name;
  const externalData = placement(called, stored);
  if (externalData !== undefined) return { ...head, externalData, dataLocation: EXTERNAL };
  const rawData = pack(dtype, loadTensor(stored, called).data);
  return rawData.length === 0 ? head : { ...head, rawData };
}

/**
 * Reads the elements of every external tensor inside a message into it. For the parts that fxq passes on without
 * looking inside (functions, training, sparse tensors): a reference would point nowhere from another folder.
 */
export function embedExternalTensors(message: unknown, origin: Origin): void {
  if (message === null || typeof message !== 'object' || ArrayBuffer.isView(message)) return;
  if (isExternal(message)) embedExternal(message, `tensor '${(message as TensorProto).name ?? ''}'`, origin);
  for (const part of Object.values(message)) embedExternalTensors(part, origin);
}

function isExternal(message: TensorProto): boolean {
  return isSet(message, 'dataLocation') && message.dataLocation === EXTERNAL;
}

function embedExternal(proto: TensorProto, owner: string, origin: Origin): void {
  proto.rawData = readExternal(locateExternal(proto.externalData ?? [], undefined, owner, origin), owner);
  delete proto.externalData;
  delete proto.dataLocation;
}
