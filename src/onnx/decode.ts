/** Protobuf messages to the model in memory. */
import { existsSync, realpathSync, statSync } from 'node:fs';
import { dirname, isAbsolute, relative, resolve, sep } from 'node:path';
import { FxqError } from '../core/index.js';
import {
  createArray,
  dtypeBits,
  dtypeFromCode,
  sizeOf,
  storedBytes,
  unpack,
  type DType,
  type TypedArray,
} from '../tensor/index.js';
import {
  type Attribute,
  type Dim,
  type Graph,
  type Model,
  type Node,
  type StoredTensor,
  type TensorType,
  type ValueInfo,
} from './model.js';
import {
  isSet,
  toBigInt,
  toNumber,
  type AttributeProto,
  type GraphProto,
  type ModelProto,
  type NodeProto,
  type TensorProto,
  type TypeProto,
  type ValueInfoProto,
} from './proto.js';

/** Folder against which external data is resolved; undefined for a model that did not come from a file. */
type Folder = string | undefined;

export function decodeModel(proto: ModelProto, folder: Folder): Model {
  const { irVersion, opsetImport, graph, metadataProps, ...rest } = proto;
  if (graph == null) throw new FxqError('E_MODEL', 'the model has no graph', 'Export the model again.');
  return {
    irVersion: toNumber(irVersion),
    opsets: new Map(
      (opsetImport ?? []).map((o) => [o.domain === 'ai.onnx' ? '' : (o.domain ?? ''), toNumber(o.version)]),
    ),
    graph: decodeGraph(graph, folder),
    metadata: new Map((metadataProps ?? []).map((m) => [m.key ?? '', m.value ?? ''])),
    rest,
  };
}

function decodeGraph(proto: GraphProto, folder: Folder): Graph {
  const { node, name, initializer, input, output, valueInfo, ...rest } = proto;
  return {
    name: name ?? '',
    inputs: (input ?? []).map(decodeValueInfo),
    outputs: (output ?? []).map(decodeValueInfo),
    nodes: (node ?? []).map((n) => decodeNode(n, folder)),
    initializers: new Map((initializer ?? []).map((t) => [t.name ?? '', decodeTensor(t, folder)])),
    valueInfo: new Map((valueInfo ?? []).map((v) => [v.name ?? '', decodeValueInfo(v)])),
    rest,
  };
}

function decodeValueInfo(proto: ValueInfoProto): ValueInfo {
  const { name, ...rest } = proto;
  return { name: name ?? '', type: decodeTensorType(proto.type), proto: rest };
}

function decodeTensorType(type: TypeProto | undefined): TensorType | undefined {
  const tensor = type?.tensorType;
  if (tensor === undefined || tensor === null) return undefined;
  const code = tensor.elemType ?? 0;
  const dims = tensor.shape?.dim?.map((d): Dim => {
    if (isSet(d, 'dimParam') && d.dimParam !== '') return d.dimParam ?? null;
    return isSet(d, 'dimValue') ? toNumber(d.dimValue) : null;
  });
  return {
    dtype: code === 8 ? 'string' : dtypeFromCode(code),
    dims: tensor.shape ? (dims ?? []) : undefined,
  };
}

function decodeNode(proto: NodeProto, folder: Folder): Node {
  const { input, output, name, opType, domain, attribute, ...rest } = proto;
  return {
    opType: opType ?? '',
    domain: domain === 'ai.onnx' ? '' : (domain ?? ''),
    name: name ?? '',
    inputs: input ?? [],
    outputs: output ?? [],
    attributes: new Map((attribute ?? []).map((a) => [a.name ?? '', decodeAttribute(a, folder)])),
    rest,
  };
}

/** `AttributeProto.AttributeType` codes. */
export const ATTRIBUTE_TYPE = {
  float: 1,
  int: 2,
  string: 3,
  tensor: 4,
  graph: 5,
  floats: 6,
  ints: 7,
  strings: 8,
  tensors: 9,
  graphs: 10,
} as const;

function decodeAttribute(proto: AttributeProto, folder: Folder): Attribute {
  if (proto.refAttrName !== undefined && proto.refAttrName !== '') return { kind: 'other', value: proto };
  switch (isSet(proto, 'type') ? proto.type : guessAttributeType(proto)) {
    case ATTRIBUTE_TYPE.float:
      return { kind: 'float', value: proto.f ?? 0 };
    case ATTRIBUTE_TYPE.int:
      return { kind: 'int', value: toBigInt(proto.i ?? 0) };
    case ATTRIBUTE_TYPE.string:
      return { kind: 'string', value: proto.s ?? new Uint8Array() };
    case ATTRIBUTE_TYPE.tensor:
      return { kind: 'tensor', value: decodeTensor(proto.t ?? {}, folder) };
    case ATTRIBUTE_TYPE.graph:
      return { kind: 'graph', value: decodeGraph(proto.g ?? {}, folder) };
    case ATTRIBUTE_TYPE.floats:
      return { kind: 'floats', value: proto.floats ?? [] };
    case ATTRIBUTE_TYPE.ints:
      return { kind: 'ints', value: (proto.ints ?? []).map(toBigInt) };
    case ATTRIBUTE_TYPE.strings:
      return { kind: 'strings', value: proto.strings ?? [] };
    case ATTRIBUTE_TYPE.tensors:
      return { kind: 'tensors', value: (proto.tensors ?? []).map((t) => decodeTensor(t, folder)) };
    case ATTRIBUTE_TYPE.graphs:
      return { kind: 'graphs', value: (proto.graphs ?? []).map((g) => decodeGraph(g, folder)) };
    default:
      return { kind: 'other', value: proto };
  }
}

/** Files of the first IR versions leave the attribute's type out: the field that is set tells it. */
function guessAttributeType(proto: AttributeProto): number | undefined {
  const has = (field: keyof AttributeProto): boolean => isSet(proto, field);
  if (has('f')) return ATTRIBUTE_TYPE.float;
  if (has('i')) return ATTRIBUTE_TYPE.int;
  if (has('s')) return ATTRIBUTE_TYPE.string;
  if (has('t')) return ATTRIBUTE_TYPE.tensor;
  if (has('g')) return ATTRIBUTE_TYPE.graph;
  if (proto.floats?.length) return ATTRIBUTE_TYPE.floats;
  if (proto.ints?.length) return ATTRIBUTE_TYPE.ints;
  if (proto.strings?.length) return ATTRIBUTE_TYPE.strings;
  return undefined;
}

const EXTERNAL = 1;
const KEPT = ['docString', 'metadataProps', '$unknowns'] as const;

function decodeTensor(proto: TensorProto, folder: Folder): StoredTensor {
  const dims = (proto.dims ?? []).map(toNumber);
  const code = proto.dataType ?? 0;
  const dtype = code === 8 ? 'string' : dtypeFromCode(code);
  if (dtype === undefined || dtype === 'string' || isSet(proto, 'segment')) {
    return { dtype, dims, source: { kind: 'opaque' }, rest: proto };
  }
  const name = proto.name ?? 'a tensor attribute';
  const rest: TensorProto = {};
  for (const field of KEPT) if (isSet(proto, field)) Object.assign(rest, { [field]: proto[field] });
  if (proto.dataLocation === EXTERNAL) {
    return { dtype, dims, source: decodeExternal(proto, name, dtype, dims, folder), rest };
  }
  return {
    dtype,
    dims,
    source: { kind: 'memory', tensor: { dtype, dims, data: decodeElements(proto, dtype, dims, name) } },
    rest,
  };
}

function decodeElements(proto: TensorProto, dtype: DType, dims: readonly number[], name: string): TypedArray {
  const length = sizeOf(dims);
  if (proto.rawData !== undefined && proto.rawData.length > 0) {
    try {
      return unpack(dtype, proto.rawData, length);
    } catch (error) {
      throw new FxqError(
        'E_MODEL',
        `initializer '${name}': ${(error as Error).message}`,
        'The file is damaged; export it again.',
      );
    }
  }
  const typed = typedField(proto, dtype, length);
  if (typed.length !== length) {
    throw new FxqError(
      'E_MODEL',
      `initializer '${name}' has ${typed.length} elements for shape [${dims.join(', ')}]`,
      'The file is damaged; export it again.',
    );
  }
  return typed;
}

/** Elements from the typed repeated fields (`float_data`, `int32_data`, …). */
function typedField(proto: TensorProto, dtype: DType, length: number): TypedArray {
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
      const floats = Float32Array.from(proto.floatData ?? []);
      return new BigUint64Array(floats.buffer);
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

function decodeExternal(
  proto: TensorProto,
  name: string,
  dtype: DType,
  dims: readonly number[],
  folder: Folder,
): { kind: 'external'; file: string; offset: number; length: number } {
  const entries = new Map((proto.externalData ?? []).map((e) => [e.key ?? '', e.value ?? '']));
  const location = entries.get('location') ?? '';
  if (folder === undefined) {
    throw new FxqError(
      'E_EXTERNAL_DATA',
      `'${name}' has external data, but the model did not come from a file`,
    );
  }
  const file = confinedPath(folder, location, name);
  const offset = Number(entries.get('offset') ?? 0);
  const expected = storedBytes(dtype, sizeOf(dims));
  const length = Number(entries.get('length') ?? expected);
  if (!Number.isSafeInteger(offset) || offset < 0 || length !== expected) {
    throw new FxqError(
      'E_EXTERNAL_DATA',
      `external data of '${name}' is inconsistent: ${length} bytes at ${offset} for ${dtype}[${dims.join(', ')}], which takes ${expected}`,
      'The file is damaged; export it again.',
    );
  }
  if (!existsSync(file) || statSync(file).size < offset + length) {
    const why = existsSync(file) ? 'is shorter than the model says' : 'does not exist';
    throw new FxqError(
      'E_EXTERNAL_DATA',
      `external data of '${name}': ${file} ${why}`,
      'Keep the external data beside the model.',
    );
  }
  return { kind: 'external', file, offset, length };
}

/** Resolves an external data location, which must stay inside the model's folder, symbolic links followed. */
function confinedPath(folder: string, location: string, name: string): string {
  const base = existsSync(folder) ? realpathSync(folder) : resolve(folder);
  const wanted = resolve(base, location);
  const actual = existsSync(wanted) ? realpathSync(wanted) : wanted;
  const inside = (path: string): boolean => {
    const way = relative(base, path);
    return way !== '' && way !== '..' && !way.startsWith(`..${sep}`) && !isAbsolute(way);
  };
  if (location === '' || isAbsolute(location) || !inside(wanted) || !inside(actual)) {
    throw new FxqError(
      'E_EXTERNAL_DATA',
      `external data of '${name}' points outside the model's folder: '${location}'`,
      'Move the data file into the folder of the model.',
    );
  }
  return actual;
}

/** Folder of a model file, for {@link decodeModel}. */
export function folderOf(path: string): string {
  return dirname(resolve(path));
}
