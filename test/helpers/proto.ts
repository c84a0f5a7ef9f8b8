/** Messages with everything in them, made from the schema itself: what a round trip must bring back. */
import protobuf from 'protobufjs';
import { createRng, type Rng } from '../../src/core/index.js';
import { schema } from '../../src/onnx/schema.js';

const root = protobuf.Root.fromJSON(schema as protobuf.INamespace);

export type Message = Record<string, unknown>;

/** Bytes of a message of the ONNX schema. */
export function encodeProto(type: string, message: Message): Uint8Array {
  return root.lookupType(`onnx.${type}`).encode(message).finish();
}

/** A message as plain data, unknown fields included, for comparing. */
export function decodeProto(type: string, bytes: Uint8Array): unknown {
  const reader = protobuf.Reader.create(bytes);
  reader.discardUnknown = false;
  return plain(root.lookupType(`onnx.${type}`).decode(reader));
}

function plain(value: unknown): unknown {
  if (value === null || typeof value !== 'object') return value;
  if (value instanceof Uint8Array) return Buffer.from(value).toString('hex');
  if (Array.isArray(value)) return value.map(plain);
  const { $unknowns } = value as { $unknowns?: Uint8Array[] };
  const set = Object.entries({ ...value, $unknowns }).filter(
    ([, v]) => !(Array.isArray(v) && v.length === 0),
  );
  return Object.fromEntries(set.map(([field, v]) => [field, plain(v)]));
}

/** Fields that are made by hand, because their parts must fit together. */
const TENSOR: Message = { dims: [3, 1], dataType: 1, rawData: new Uint8Array(12).fill(63) };
const ATTRIBUTES = [
  { type: 1, f: 0.5 },
  { type: 2, i: -7 },
  { type: 3, s: Buffer.from('text') },
  { type: 4, field: 't' },
  { type: 5, field: 'g' },
  { type: 6, floats: [1, -0.25] },
  { type: 7, ints: [1, -2, 2 ** 40] },
  { type: 8, strings: [Buffer.from([0xff, 0]), Buffer.from('b')] },
  { type: 9, field: 'tensors' },
  { type: 10, field: 'graphs' },
  { type: 11, field: 'sparseTensor' },
  { type: 12, field: 'sparseTensors' },
  { type: 13, field: 'tp' },
  { type: 14, field: 'typeProtos' },
];
/** Ways to store elements that are read but not written, and the choice between external and inline data. */
const NOT_WRITTEN = /^(float|int32|string|int64|double|uint64|external)Data$|^(segment|dataLocation)$/;

/**
 * A random message: every field of the schema is set with probability `density`, at every depth, and every message may
 * carry a field that the schema does not know.
 */
export function arbitraryMessage(type: string, seed: number, density = 1): Message {
  const rng = createRng(seed);
  let serial = 0;
  const text = (field: string): string => (rng.below(8) === 0 ? '' : `${field} ${serial++}`);
  const present = (): boolean => rng.uniform() < density;
  return fill(root.lookupType(`onnx.${type}`), 2);

  function fill(type: protobuf.Type, depth: number): Message {
    const message: Message = {};
    const chosen = new Set(type.oneofsArray.map((group) => pick(rng, group.oneof)));
    for (const field of type.fieldsArray) {
      if (field.partOf && !chosen.has(field.name)) continue;
      if (type.name === 'TensorProto' && (field.name in TENSOR || NOT_WRITTEN.test(field.name))) continue;
      if (present() || isKey(type, field)) {
        const value = valueOf(field, depth);
        if (value !== undefined) message[field.name] = value;
      }
    }
    if (type.name === 'TensorProto') Object.assign(message, TENSOR);
    if (type.name === 'NodeProto') message.attribute = attributes(depth);
    if (present()) message.$unknowns = [protobuf.Writer.create().uint32(8000).uint32(serial++).finish()];
    return message;
  }

  /** What maps are keyed by must be there, and differ. */
  function isKey(type: protobuf.Type, field: protobuf.Field): boolean {
    return (
      ['key', 'name'].includes(field.name) ||
      [
        'ModelProto.irVersion',
        'ModelProto.graph',
        'NodeProto.opType',
        'OperatorSetIdProto.domain',
        'OperatorSetIdProto.version',
      ].includes(`${type.name}.${field.name}`)
    );
  }

  function valueOf(field: protobuf.Field, depth: number): unknown {
    const type = field.resolve().resolvedType;
    const deeper = type !== null && ['GraphProto', 'TypeProto'].includes(type.name) ? depth - 1 : depth;
    if (deeper < 0) return undefined;
    const one = (): unknown => {
      if (type instanceof protobuf.Type) return fill(type, deeper);
      if (type instanceof protobuf.Enum) return pick(rng, Object.values(type.values));
      if (field.type === 'bytes') return Buffer.from(text(field.name));
      if (field.type === 'string')
        return isKey(field.parent as protobuf.Type, field)
          ? `${field.name} ${serial++}`
          : field.name === 'domain'
            ? `domain ${serial++}`
            : text(field.name);
      return field.type === 'float' || field.type === 'double' ? 0.5 : rng.below(100);
    };
    return field.repeated ? Array.from({ length: rng.below(4) === 0 ? 2 : 1 }, one) : one();
  }

  function attributes(depth: number): Message[] {
    const attribute = root.lookupType('onnx.AttributeProto');
    return ATTRIBUTES.flatMap(({ field, ...rest }) => {
      const value =
        field === undefined ? undefined : valueOf(attribute.fields[field] as protobuf.Field, depth);
      if ((field !== undefined && value === undefined) || !present()) return [];
      const extra = present() ? { docString: text('doc') } : {};
      return [{ name: `attribute ${serial++}`, ...rest, ...(field && { [field]: value }), ...extra }];
    });
  }
}

function pick<T>(rng: Rng, items: readonly T[]): T {
  return items[rng.below(items.length)] as T;
}
