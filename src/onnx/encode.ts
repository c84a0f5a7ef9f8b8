/** The model in memory back to protobuf messages. */
import { ELEMENT_TYPES } from '../tensor/index.js';
import { ATTRIBUTES, decodeTensorType, standardDomain } from './decode.js';
import {
  type Attribute,
  type Graph,
  type Model,
  type Node,
  type StoredTensor,
  type TensorType,
  type ValueInfo,
} from './model.js';
import {
  otherFields,
  toLong,
  type AttributeProto,
  type GraphProto,
  type ModelProto,
  type NodeProto,
  type TypeProto,
  type ValueInfoProto,
} from './proto.js';
import { encodeTensor, INLINE, type Placement } from './tensor-proto.js';

/** Encodes a model; absent strings stay absent. `placement` says which tensors go to a file of their own. */
export function encodeModel(model: Model, placement: Placement = INLINE): ModelProto {
  const opsets = new Map(model.rest?.opsetImport?.map((o) => [standardDomain(o.domain), o]));
  const metadata = new Map(model.rest?.metadataProps?.map((m) => [m.key ?? '', m]));
  return {
    ...model.rest,
    irVersion: toLong(model.irVersion),
    opsetImport: [...model.opsets].map(([domain, version]) => ({
      ...otherFields(opsets.get(domain) ?? {}, []),
      ...(domain !== '' && { domain }),
      version: toLong(version),
    })),
    graph: encodeGraph(model.graph, placement),
    metadataProps: [...model.metadata].map(([key, value]) => ({
      ...otherFields(metadata.get(key) ?? {}, []),
      key,
      ...(value !== '' && { value }),
    })),
  };
}

function encodeGraph(graph: Graph, placement: Placement): GraphProto {
  return {
    ...graph.rest,
    ...(graph.name !== '' && { name: graph.name }),
    input: graph.inputs.map(encodeValueInfo),
    output: graph.outputs.map(encodeValueInfo),
    node: graph.nodes.map((n) => encodeNode(n, placement)),
    initializer: [...graph.initializers].map(([name, stored]) => encodeTensor(name, stored, placement)),
    valueInfo: [...graph.valueInfo.values()].map(encodeValueInfo),
  };
}

function encodeValueInfo(value: ValueInfo): ValueInfoProto {
  const { name, proto } = value;
  // The declaration is kept (with its denotations) as long as it says the same as `type`.
  const type = sameType(decodeTensorType(proto.type), value.type) ? proto.type : encodeTensorType(value.type);
  return { ...proto, ...(name !== '' && { name }), ...(type !== undefined && { type }) };
}

function sameType(a: TensorType | undefined, b: TensorType | undefined): boolean {
  return (
    a?.dtype === b?.dtype &&
    a?.dims?.length === b?.dims?.length &&
    (a?.dims ?? []).every((d, i) => d === b?.dims?.[i])
  );
}

/** TypeProto of a tensor type. */
export function encodeTensorType(type: TensorType | undefined): TypeProto | undefined {
  if (type?.dtype === undefined) return undefined;
  const elemType = type.dtype === 'string' ? 8 : ELEMENT_TYPES[type.dtype].code;
  if (type.dims === undefined) return { tensorType: { elemType } };
  const dim = type.dims.map((d) =>
    typeof d === 'string' ? { dimParam: d } : d === null ? {} : { dimValue: toLong(d) },
  );
  return { tensorType: { elemType, shape: { dim } } };
}

function encodeNode(node: Node, placement: Placement): NodeProto {
  return {
    ...node.rest,
    opType: node.opType,
    ...(node.domain !== '' && { domain: node.domain }),
    ...(node.name !== '' && { name: node.name }),
    input: [...node.inputs],
    output: [...node.outputs],
    attribute: [...node.attributes].map(([name, a]) => encodeAttribute(name, a, placement)),
  };
}

function encodeAttribute(name: string, attribute: Attribute, placement: Placement): AttributeProto {
  if (attribute.kind === 'other') return attribute.value;
  const { type, field } = ATTRIBUTES[attribute.kind];
  return { ...attribute.rest, name, type, [field]: encodeValue(attribute, placement) };
}

function encodeValue(attribute: Exclude<Attribute, { kind: 'other' }>, placement: Placement): unknown {
  const tensor = (t: StoredTensor) => encodeTensor('', t, placement);
  const graph = (g: Graph) => encodeGraph(g, placement);
  switch (attribute.kind) {
    case 'float':
    case 'string':
      return attribute.value;
    case 'int':
      return toLong(attribute.value);
    case 'tensor':
      return tensor(attribute.value);
    case 'graph':
      return graph(attribute.value);
    case 'floats':
    case 'strings':
      return [...attribute.value];
    case 'ints':
      return attribute.value.map(toLong);
    case 'tensors':
      return attribute.value.map(tensor);
    case 'graphs':
      return attribute.value.map(graph);
  }
}
