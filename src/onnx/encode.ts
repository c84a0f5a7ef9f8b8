/** The model in memory back to protobuf messages. */
import { ELEMENT_TYPES, pack, type DType } from '../tensor/index.js';
import { ATTRIBUTE_TYPE } from './decode.js';
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
  toLong,
  type AttributeProto,
  type GraphProto,
  type ModelProto,
  type NodeProto,
  type StringStringProto,
  type TensorProto,
  type TypeProto,
  type ValueInfoProto,
} from './proto.js';
import { loadTensor } from './stored-tensor.js';

/** Decides where an initializer's bytes go: undefined keeps them in the model, else the external entries to write. */
export type Placement = (name: string, stored: StoredTensor) => StringStringProto[] | undefined;

const INLINE: Placement = () => undefined;

export function encodeModel(model: Model, placement: Placement = INLINE): ModelProto {
  return {
    ...model.rest,
    irVersion: toLong(model.irVersion),
    opsetImport: [...model.opsets].map(([domain, version]) => ({ domain, version: toLong(version) })),
    graph: encodeGraph(model.graph, placement),
    metadataProps: [...model.metadata].map(([key, value]) => ({ key, value })),
  };
}

function encodeGraph(graph: Graph, placement: Placement): GraphProto {
  return {
    ...graph.rest,
    name: graph.name,
    input: graph.inputs.map(encodeValueInfo),
    output: graph.outputs.map(encodeValueInfo),
    node: graph.nodes.map((n) => encodeNode(n, placement)),
    initializer: [...graph.initializers].map(([name, stored]) => encodeTensor(name, stored, placement)),
    valueInfo: [...graph.valueInfo.values()].map(encodeValueInfo),
  };
}

function encodeValueInfo(value: ValueInfo): ValueInfoProto {
  const type = value.proto.type ?? encodeTensorType(value.type);
  return { ...value.proto, name: value.name, ...(type !== undefined && { type }) };
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
    domain: node.domain,
    name: node.name,
    input: [...node.inputs],
    output: [...node.outputs],
    attribute: [...node.attributes].map(([name, a]) => encodeAttribute(name, a, placement)),
  };
}

function encodeAttribute(name: string, attribute: Attribute, placement: Placement): AttributeProto {
  if (attribute.kind === 'other') return attribute.value;
  const type = ATTRIBUTE_TYPE[attribute.kind];
  switch (attribute.kind) {
    case 'float':
      return { name, type, f: attribute.value };
    case 'int':
      return { name, type, i: toLong(attribute.value) };
    case 'string':
      return { name, type, s: attribute.value };
    case 'tensor':
      return { name, type, t: encodeTensor(attribute.value.rest?.name ?? '', attribute.value, INLINE) };
    case 'graph':
      return { name, type, g: encodeGraph(attribute.value, placement) };
    case 'floats':
      return { name, type, floats: [...attribute.value] };
    case 'ints':
      return { name, type, ints: attribute.value.map(toLong) };
    case 'strings':
      return { name, type, strings: [...attribute.value] };
    case 'tensors':
      return { name, type, tensors: attribute.value.map((t) => encodeTensor(t.rest?.name ?? '', t, INLINE)) };
    case 'graphs':
      return { name, type, graphs: attribute.value.map((g) => encodeGraph(g, placement)) };
  }
}

const EXTERNAL = 1;

function encodeTensor(name: string, stored: StoredTensor, placement: Placement): TensorProto {
  if (stored.source.kind === 'opaque') return { ...stored.rest, ...(name !== '' && { name }) };
  const dtype = stored.dtype as DType;
  const head: TensorProto = {
    ...stored.rest,
    dims: stored.dims.map(toLong),
    dataType: ELEMENT_TYPES[dtype].code,
    ...(name !== '' && { name }),
  };
  const external = placement(name, stored);
  if (external !== undefined) return { ...head, dataLocation: EXTERNAL, externalData: external };
  const t = loadTensor(stored, name);
  return { ...head, rawData: pack(dtype, t.data) };
}
