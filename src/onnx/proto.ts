/** The ONNX protobuf schema and its codec. The only file that knows protobufjs; unknown fields survive a round trip. */
import protobuf from 'protobufjs';
import { schema } from './schema.js';

const root = protobuf.Root.fromJSON(schema as protobuf.INamespace);

/** int64 as protobufjs hands it over. */
export interface Long {
  readonly low: number;
  readonly high: number;
  readonly unsigned: boolean;
}
export type Int64 = number | Long;

/**
 * A decoded message: fields under their camel-case names. A field that is not set is not an own property, but reads as
 * its protobuf default (0, '' or null) from the prototype: ask {@link isSet} where that matters.
 */
export interface ProtoMessage {
  $unknowns?: Uint8Array[];
}

/** Whether a field is present in a message. */
export function isSet<M extends ProtoMessage>(message: M, field: keyof M & string): boolean {
  return Object.hasOwn(message, field);
}

/**
 * Everything a message holds besides the named fields, unknown fields included. Named strings and bytes that are
 * present but empty stay, so that they are written again as they were and absent ones are not added.
 */
export function otherFields<M extends ProtoMessage>(message: M, known: readonly (keyof M & string)[]): M {
  const rest: ProtoMessage & Record<string, unknown> = {};
  const interpreted = new Set<string>(known);
  for (const [field, value] of Object.entries(message)) {
    if (Array.isArray(value) && value.length === 0) continue;
    if (!interpreted.has(field) || isEmpty(value)) rest[field] = value;
  }
  // protobufjs keeps unknown fields in a property that is not enumerable.
  if (message.$unknowns !== undefined) rest.$unknowns = message.$unknowns;
  return rest as M;
}

function isEmpty(value: unknown): boolean {
  return value === '' || (value instanceof Uint8Array && value.length === 0);
}

export interface StringStringProto extends ProtoMessage {
  key?: string;
  value?: string;
}

export interface TensorProto extends ProtoMessage {
  dims?: Int64[];
  dataType?: number;
  segment?: ProtoMessage;
  floatData?: number[];
  int32Data?: number[];
  stringData?: Uint8Array[];
  int64Data?: Int64[];
  name?: string;
  docString?: string;
  rawData?: Uint8Array;
  externalData?: StringStringProto[];
  dataLocation?: number;
  doubleData?: number[];
  uint64Data?: Int64[];
  metadataProps?: StringStringProto[];
}

export interface DimensionProto extends ProtoMessage {
  dimValue?: Int64;
  dimParam?: string;
  denotation?: string;
}

export interface TypeProto extends ProtoMessage {
  tensorType?: { elemType?: number; shape?: { dim?: DimensionProto[] } };
  sequenceType?: ProtoMessage;
  mapType?: ProtoMessage;
  optionalType?: ProtoMessage;
  sparseTensorType?: ProtoMessage;
  denotation?: string;
}

export interface ValueInfoProto extends ProtoMessage {
  name?: string;
  type?: TypeProto;
  docString?: string;
  metadataProps?: StringStringProto[];
}

export interface AttributeProto extends ProtoMessage {
  name?: string;
  refAttrName?: string;
  docString?: string;
  type?: number;
  f?: number;
  i?: Int64;
  s?: Uint8Array;
  t?: TensorProto;
  g?: GraphProto;
  floats?: number[];
  ints?: Int64[];
  strings?: Uint8Array[];
  tensors?: TensorProto[];
  graphs?: GraphProto[];
}

export interface NodeProto extends ProtoMessage {
  input?: string[];
  output?: string[];
  name?: string;
  opType?: string;
  domain?: string;
  overload?: string;
  attribute?: AttributeProto[];
  docString?: string;
  metadataProps?: StringStringProto[];
}

export interface SparseTensorProto extends ProtoMessage {
  values?: TensorProto;
  indices?: TensorProto;
}

export interface GraphProto extends ProtoMessage {
  node?: NodeProto[];
  name?: string;
  initializer?: TensorProto[];
  sparseInitializer?: SparseTensorProto[];
  docString?: string;
  input?: ValueInfoProto[];
  output?: ValueInfoProto[];
  valueInfo?: ValueInfoProto[];
  quantizationAnnotation?: ProtoMessage[];
  metadataProps?: StringStringProto[];
}

export interface OperatorSetIdProto extends ProtoMessage {
  domain?: string;
  version?: Int64;
}

export interface ModelProto extends ProtoMessage {
  irVersion?: Int64;
  opsetImport?: OperatorSetIdProto[];
  producerName?: string;
  producerVersion?: string;
  domain?: string;
  modelVersion?: Int64;
  docString?: string;
  graph?: GraphProto;
  metadataProps?: StringStringProto[];
  trainingInfo?: ProtoMessage[];
  functions?: FunctionProto[];
}

export interface FunctionProto extends ProtoMessage {
  name?: string;
  domain?: string;
  overload?: string;
  node?: NodeProto[];
  opsetImport?: OperatorSetIdProto[];
}

const MODEL = root.lookupType('onnx.ModelProto');
const GRAPH = root.lookupType('onnx.GraphProto');
const TENSOR = root.lookupType('onnx.TensorProto');

/** Decodes a serialized ModelProto; throws protobufjs errors on malformed input. */
export function decodeModelProto(bytes: Uint8Array): ModelProto {
  const reader = protobuf.Reader.create(bytes);
  reader.discardUnknown = false;
  return MODEL.decode(reader) as ModelProto;
}

/** Decodes a serialized TensorProto; throws protobufjs errors on malformed input. */
export function decodeTensorProto(bytes: Uint8Array): TensorProto {
  return TENSOR.decode(bytes) as TensorProto;
}

/**
 * Serializes a ModelProto, unknown fields included, as chunks to be written one after the other. The elements of
 * large initializers are chunks of their own and are not copied: protobufjs alone needs several times the model's size.
 */
export function encodeModelProto(model: ModelProto): Uint8Array[] {
  return encodeAround(MODEL, model, 'graph', (graph) =>
    encodeAround(GRAPH, graph, 'initializer', (tensor) =>
      (tensor.rawData?.length ?? 0) < LARGE
        ? [encode(TENSOR, tensor)]
        : encodeAround(TENSOR, tensor, 'rawData', (bytes) => [bytes]),
    ),
  );
}

const LARGE = 4096;

/** A message in canonical field order, with the values of one length-delimited field encoded by `inner`. */
function encodeAround<M extends ProtoMessage, F extends keyof M & string>(
  type: protobuf.Type,
  message: M,
  field: F,
  inner: (value: Item<M[F]>) => Uint8Array[],
): Uint8Array[] {
  const id = (name: string): number => type.fields[name]?.id ?? Infinity;
  const part = (keep: (id: number) => boolean): Uint8Array =>
    encode(type, Object.fromEntries(Object.entries(message).filter(([name]) => keep(id(name)))));
  const value = isSet(message, field) ? message[field] : undefined;
  const items = (value === undefined ? [] : Array.isArray(value) ? value : [value]) as Item<M[F]>[];
  const chunks = items.flatMap((item) => {
    const body = inner(item);
    const length = body.reduce((sum, chunk) => sum + chunk.length, 0);
    const LENGTH_DELIMITED = 2;
    const head = protobuf.Writer.create()
      .uint32((id(field) << 3) | LENGTH_DELIMITED)
      .uint32(length);
    return [head.finish(), ...body];
  });
  return [part((other) => other < id(field)), ...chunks, part((other) => other > id(field))];
}

type Item<T> = NonNullable<T> extends readonly (infer U)[] ? U : NonNullable<T>;

function encode(type: protobuf.Type, message: ProtoMessage): Uint8Array {
  return type.encode(message).finish();
}

/** int64 field to number (exact up to 2^53; larger values lose low bits — use {@link toBigInt} where they matter). */
export function toNumber(value: Int64 | undefined): number {
  if (value === undefined) return 0;
  return typeof value === 'number' ? value : value.high * 2 ** 32 + (value.low >>> 0);
}

/** int64 field to bigint. */
export function toBigInt(value: Int64): bigint {
  if (typeof value === 'number') return BigInt(value);
  const high = value.unsigned ? BigInt(value.high >>> 0) : BigInt(value.high);
  return (high << 32n) | BigInt(value.low >>> 0);
}

/** bigint or number to an int64 field. */
export function toLong(value: bigint | number): Int64 {
  const wide = BigInt.asIntN(64, BigInt(value));
  return { low: Number(wide & 0xffffffffn) | 0, high: Number(wide >> 32n) | 0, unsigned: false };
}
