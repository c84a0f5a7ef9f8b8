/** Protobuf messages to the model in memory. */
import { FxqError } from '../core/index.js';
import { dtypeFromCode } from '../tensor/index.js';
import { type Origin } from './external-data.js';
import {
  describeNode,
  type Attribute,
  type AttributeValue,
  type Dim,
  type Graph,
  type Model,
  type Node,
  type TensorType,
  type ValueInfo,
} from './model.js';
import {
  isSet,
  otherFields,
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
import { decodeTensor, embedExternalTensors } from './tensor-proto.js';

/**
 * Decodes a model. Nothing is dropped: what has no field in {@link Model} stays in the `rest` of its part.
 *
 * @throws FxqError E_MODEL, E_GRAPH or E_EXTERNAL_DATA, naming the node or tensor
 */
export function decodeModel(proto: ModelProto, origin: Origin): Model {
  const { irVersion, opsetImport = [], graph, metadataProps = [] } = proto;
  if (graph == null)
    throw new FxqError('E_MODEL', `${origin.what}: the model has no graph`, 'Export the model again.');
  const rest = otherFields(proto, ['irVersion', 'graph']);
  embedExternalTensors([proto.functions, proto.trainingInfo], origin);
  return {
    irVersion: toNumber(irVersion),
    opsets: unique(
      opsetImport.map((o) => [standardDomain(o.domain), toNumber(o.version)]),
      (domain) => `two opsets are imported for the domain '${domain}'`,
      origin,
    ),
    graph: decodeGraph(graph, origin),
    metadata: new Map(metadataProps.map((m) => [m.key ?? '', m.value ?? ''])),
    rest,
  };
}

/** 'ai.onnx' is the long name of the standard domain ''. */
export function standardDomain(domain: string | undefined): string {
  return domain === 'ai.onnx' ? '' : (domain ?? '');
}

/** A map of entries whose keys must differ (the same entry twice is taken as one when its values are primitive). */
function unique<V>(
  entries: readonly (readonly [string, V])[],
  message: (key: string) => string,
  origin: Origin,
): Map<string, V> {
  const map = new Map<string, V>();
  for (const [key, value] of entries) {
    if (map.has(key) && map.get(key) !== value)
      throw new FxqError('E_GRAPH', `${origin.what}: ${message(key)}`, 'Export the model again.');
    map.set(key, value);
  }
  return map;
}

function decodeGraph(proto: GraphProto, origin: Origin): Graph {
  embedExternalTensors(proto.sparseInitializer, origin);
  return {
    name: proto.name ?? '',
    inputs: (proto.input ?? []).map(decodeValueInfo),
    outputs: (proto.output ?? []).map(decodeValueInfo),
    nodes: (proto.node ?? []).map((n) => decodeNode(n, origin)),
    initializers: unique(
      (proto.initializer ?? []).map((t) => {
        const name = t.name ?? '';
        return [name, decodeTensor(t, `initializer '${name}'`, origin, true)];
      }),
      (name) => `there are two initializers called '${name}'`,
      origin,
    ),
    valueInfo: new Map((proto.valueInfo ?? []).map((v) => [v.name ?? '', decodeValueInfo(v)])),
    rest: otherFields(proto, ['name', 'input', 'output', 'node', 'initializer', 'valueInfo']),
  };
}

function decodeValueInfo(proto: ValueInfoProto): ValueInfo {
  return {
    name: proto.name ?? '',
    type: decodeTensorType(proto.type),
    proto: otherFields(proto, ['name']),
  };
}

/** The tensor type a TypeProto declares; undefined for sequences, maps and the like. */
export function decodeTensorType(type: TypeProto | undefined): TensorType | undefined {
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

function decodeNode(proto: NodeProto, origin: Origin): Node {
  const node: Node = {
    opType: proto.opType ?? '',
    domain: standardDomain(proto.domain),
    name: proto.name ?? '',
    inputs: proto.input ?? [],
    outputs: proto.output ?? [],
    attributes: new Map(),
    rest: decodeNodeRest(proto),
  };
  const owner = describeNode(node);
  const attributes = unique(
    (proto.attribute ?? []).map((a) => [a.name ?? '', decodeAttribute(a, owner, origin)]),
    (name) => `${owner} has the attribute '${name}' twice`,
    origin,
  );
  return { ...node, attributes };
}

function decodeNodeRest(proto: NodeProto): NodeProto {
  const rest = otherFields(proto, ['opType', 'domain', 'name', 'input', 'output', 'attribute']);
  // The standard domain stays spelled as it was.
  return proto.domain === 'ai.onnx' ? { ...rest, domain: proto.domain } : rest;
}

/** Kind of attribute → `AttributeProto.AttributeType` code and the field that holds the value. */
export const ATTRIBUTES = {
  float: { type: 1, field: 'f' },
  int: { type: 2, field: 'i' },
  string: { type: 3, field: 's' },
  tensor: { type: 4, field: 't' },
  graph: { type: 5, field: 'g' },
  floats: { type: 6, field: 'floats' },
  ints: { type: 7, field: 'ints' },
  strings: { type: 8, field: 'strings' },
  tensors: { type: 9, field: 'tensors' },
  graphs: { type: 10, field: 'graphs' },
} as const satisfies Record<
  Exclude<AttributeValue['kind'], 'other'>,
  { type: number; field: keyof AttributeProto }
>;

const KINDS = Object.keys(ATTRIBUTES) as (keyof typeof ATTRIBUTES)[];

function decodeAttribute(proto: AttributeProto, node: string, origin: Origin): Attribute {
  const kind = attributeKind(proto);
  if (kind === undefined) {
    embedExternalTensors(proto, origin);
    return { kind: 'other', value: proto };
  }
  const tensor = (t: TensorProto) => decodeTensor(t, `attribute '${proto.name ?? ''}' of ${node}`, origin);
  const rest = otherFields(proto, ['name', 'type', ATTRIBUTES[kind].field]);
  switch (kind) {
    case 'float':
      return { kind, value: proto.f ?? 0, rest };
    case 'int':
      return { kind, value: toBigInt(proto.i ?? 0), rest };
    case 'string':
      return { kind, value: Uint8Array.from(proto.s ?? []), rest };
    case 'tensor':
      return { kind, value: tensor(proto.t ?? {}), rest };
    case 'graph':
      return { kind, value: decodeGraph(proto.g ?? {}, origin), rest };
    case 'floats':
      return { kind, value: proto.floats ?? [], rest };
    case 'ints':
      return { kind, value: (proto.ints ?? []).map(toBigInt), rest };
    case 'strings':
      return { kind, value: proto.strings ?? [], rest };
    case 'tensors':
      return { kind, value: (proto.tensors ?? []).map(tensor), rest };
    case 'graphs':
      return { kind, value: (proto.graphs ?? []).map((g) => decodeGraph(g, origin)), rest };
  }
}

/** Kind by the type code or, in files of the first IR versions, which leave it out, by the field that is set. */
function attributeKind(proto: AttributeProto): keyof typeof ATTRIBUTES | undefined {
  if (proto.refAttrName !== undefined && proto.refAttrName !== '') return undefined;
  return isSet(proto, 'type')
    ? KINDS.find((kind) => ATTRIBUTES[kind].type === proto.type)
    : KINDS.find((kind) => isSet(proto, ATTRIBUTES[kind].field));
}
