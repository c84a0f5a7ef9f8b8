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

export interface GraphProto extends ProtoMessage {
  node?: NodeProto[];
  name?: string;
  initializer?: TensorProto[];
  sparseInitializer?: { values?: TensorProto }[];
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
  functions?: ProtoMessage[];
}

const modelType = root.lookupType('onnx.ModelProto');

/** Decodes a serialized ModelProto; throws protobufjs errors on malformed input. */
export function decodeModelProto(bytes: Uint8Array): ModelProto {
  return modelType.decode(bytes) as ModelProto;
}

/** Serializes a ModelProto, unknown fields included. */
export function encodeModelProto(model: ModelProto): Uint8Array {
  return modelType.encode(modelType.create(model as Record<string, unknown>)).finish();
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
