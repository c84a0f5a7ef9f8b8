/** The model in memory: plain, immutable data. Values are identified by name, as in ONNX itself. */
import { type DType, type Tensor } from '../tensor/index.js';
import {
  type AttributeProto,
  type GraphProto,
  type ModelProto,
  type NodeProto,
  type TensorProto,
  type TypeProto,
} from './proto.js';

/** A dimension: known size, symbolic name, or unknown. */
export type Dim = number | string | null;

/** Element type and shape of a tensor value; `dims` is undefined when even the rank is unknown. */
export interface TensorType {
  readonly dtype: DType | 'string' | undefined;
  readonly dims: readonly Dim[] | undefined;
}

/** A declared value. `proto` keeps the whole declaration (sequence and map types, denotations, doc strings). */
export interface ValueInfo {
  readonly name: string;
  readonly type: TensorType | undefined;
  readonly proto: { readonly type?: TypeProto; readonly docString?: string };
}

/** An attribute's value; `rest` holds what else its message says (doc string, unknown fields). */
export type Attribute = AttributeValue & { readonly rest?: AttributeProto };

export type AttributeValue =
  | { readonly kind: 'float'; readonly value: number }
  | { readonly kind: 'int'; readonly value: bigint }
  | { readonly kind: 'string'; readonly value: Uint8Array }
  | { readonly kind: 'tensor'; readonly value: StoredTensor }
  | { readonly kind: 'graph'; readonly value: Graph }
  | { readonly kind: 'floats'; readonly value: readonly number[] }
  | { readonly kind: 'ints'; readonly value: readonly bigint[] }
  | { readonly kind: 'strings'; readonly value: readonly Uint8Array[] }
  | { readonly kind: 'tensors'; readonly value: readonly StoredTensor[] }
  | { readonly kind: 'graphs'; readonly value: readonly Graph[] }
  /** Anything else (sparse tensors, types, references to function attributes), kept as it came. */
  | { readonly kind: 'other'; readonly value: AttributeProto };

export interface Node {
  readonly opType: string;
  /** Operator domain; '' is the standard one. */
  readonly domain: string;
  readonly name: string;
  /** Value names; '' for an omitted optional input. */
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  readonly attributes: ReadonlyMap<string, Attribute>;
  /** Fields fxq does not interpret (doc string, overload, metadata, unknown fields). */
  readonly rest?: NodeProto;
}

/** Where a tensor's elements are: in memory, or in a byte range of a file that is read only when needed. */
export type TensorSource =
  | { readonly kind: 'memory'; readonly tensor: Tensor }
  | { readonly kind: 'external'; readonly file: string; readonly offset: number; readonly length: number }
  /** String tensors and unknown element types: kept as decoded. */
  | { readonly kind: 'opaque' };

/** An initializer or tensor attribute. */
export interface StoredTensor {
  readonly dtype: DType | 'string' | undefined;
  readonly dims: readonly number[];
  readonly source: TensorSource;
  /** What else the decoded message says: doc string, metadata, unknown fields; everything for opaque ones. */
  readonly rest?: TensorProto;
}

export interface Graph {
  readonly name: string;
  readonly inputs: readonly ValueInfo[];
  readonly outputs: readonly ValueInfo[];
  /** Nodes in topological order. */
  readonly nodes: readonly Node[];
  readonly initializers: ReadonlyMap<string, StoredTensor>;
  readonly valueInfo: ReadonlyMap<string, ValueInfo>;
  /** Doc string, sparse initializers, quantization annotations, metadata, unknown fields. */
  readonly rest?: GraphProto;
}

export interface Model {
  readonly irVersion: number;
  /** Opset by domain; '' is the standard domain. */
  readonly opsets: ReadonlyMap<string, number>;
  readonly graph: Graph;
  /** Key/value metadata of the model, in order. */
  readonly metadata: ReadonlyMap<string, string>;
  /** Producer, version, doc string, functions, training info, unknown fields. */
  readonly rest?: ModelProto;
}

/** Version of the standard operator set. */
export function opsetOf(model: Model): number {
  return model.opsets.get('') ?? model.opsets.get('ai.onnx') ?? 1;
}

/** The model with another graph. */
export function withGraph(model: Model, graph: Graph): Model {
  return { ...model, graph };
}

/** Graph inputs that must be fed: those without an initializer. */
export function feedInputs(graph: Graph): readonly ValueInfo[] {
  return graph.inputs.filter((input) => !graph.initializers.has(input.name));
}

const decoder = new TextDecoder();

/** Attribute accessors: value of the expected kind, or the default when absent. */
export function intAttribute(node: Node, name: string, fallback: number): number;
export function intAttribute(node: Node, name: string, fallback?: undefined): number | undefined;
export function intAttribute(node: Node, name: string, fallback?: number): number | undefined {
  const attribute = node.attributes.get(name);
  return attribute?.kind === 'int' ? Number(attribute.value) : fallback;
}

export function intsAttribute(node: Node, name: string, fallback: readonly number[]): readonly number[];
export function intsAttribute(node: Node, name: string, fallback?: undefined): readonly number[] | undefined;
export function intsAttribute(
  node: Node,
  name: string,
  fallback?: readonly number[],
): readonly number[] | undefined {
  const attribute = node.attributes.get(name);
  return attribute?.kind === 'ints' ? attribute.value.map(Number) : fallback;
}

export function floatAttribute(node: Node, name: string, fallback: number): number {
  const attribute = node.attributes.get(name);
  return attribute?.kind === 'float' ? attribute.value : fallback;
}

export function stringAttribute(node: Node, name: string, fallback: string): string {
  const attribute = node.attributes.get(name);
  return attribute?.kind === 'string' ? decoder.decode(attribute.value) : fallback;
}

/** Subgraphs of a node, with the attribute that holds each. */
export function subgraphsOf(node: Node): { attribute: string; index: number; graph: Graph }[] {
  const found: { attribute: string; index: number; graph: Graph }[] = [];
  for (const [attribute, value] of node.attributes) {
    if (value.kind === 'graph') found.push({ attribute, index: 0, graph: value.value });
    if (value.kind === 'graphs')
      value.value.forEach((graph, index) => found.push({ attribute, index, graph }));
  }
  return found;
}

/** Every tensor of a graph: initializers and tensor attributes, those of subgraphs included. */
export function* storedTensors(graph: Graph): Iterable<StoredTensor> {
  yield* graph.initializers.values();
  for (const node of graph.nodes) {
    for (const attribute of node.attributes.values()) {
      if (attribute.kind === 'tensor') yield attribute.value;
      if (attribute.kind === 'tensors') yield* attribute.value;
    }
    for (const subgraph of subgraphsOf(node)) yield* storedTensors(subgraph.graph);
  }
}

/** The node with every subgraph replaced by `change(subgraph)`. The same node when nothing changed. */
export function mapSubgraphs(node: Node, change: (graph: Graph) => Graph): Node {
  let changed = false;
  const attributes = new Map(node.attributes);
  for (const [name, attribute] of node.attributes) {
    if (attribute.kind === 'graph') {
      const next = change(attribute.value);
      if (next !== attribute.value) {
        attributes.set(name, { kind: 'graph', value: next });
        changed = true;
      }
    } else if (attribute.kind === 'graphs') {
      const next = attribute.value.map(change);
      if (next.some((g, i) => g !== attribute.value[i])) {
        attributes.set(name, { kind: 'graphs', value: next });
        changed = true;
      }
    }
  }
  return changed ? { ...node, attributes } : node;
}

/** Names a node reads: its inputs and everything its subgraphs take from outside. */
export function namesRead(node: Node): Set<string> {
  const names = new Set(node.inputs.filter((name) => name !== ''));
  for (const { graph } of subgraphsOf(node)) for (const name of freeNames(graph)) names.add(name);
  return names;
}

/** Values a graph has before any node runs: inputs and initializers, sparse ones included. */
export function givenNames(graph: Graph): Set<string> {
  const sparse = (graph.rest?.sparseInitializer ?? []).map((s) => s.values?.name ?? '');
  return new Set([...graph.inputs.map((v) => v.name), ...graph.initializers.keys(), ...sparse]);
}

/** Values a graph takes from its enclosing scopes. */
export function freeNames(graph: Graph): Set<string> {
  const defined = givenNames(graph);
  const free = new Set<string>();
  for (const node of graph.nodes) {
    for (const name of namesRead(node)) if (!defined.has(name)) free.add(name);
    for (const name of node.outputs) defined.add(name);
  }
  for (const output of graph.outputs) if (!defined.has(output.name)) free.add(output.name);
  return free;
}

/** Every node of a graph and of the graphs inside it; a node comes before those in its subgraphs. */
export function everyNode(graph: Graph): Node[] {
  return graph.nodes.flatMap((node) => [node, ...subgraphsOf(node).flatMap((s) => everyNode(s.graph))]);
}

/**
 * Constants by name, those of subgraphs included: initializers that are not graph inputs as well. Names must be unique
 * across the model, as they are in prepared ones.
 */
export function everyConstant(graph: Graph): Map<string, StoredTensor> {
  const inputs = new Set(graph.inputs.map((v) => v.name));
  const constants = new Map([...graph.initializers].filter(([name]) => !inputs.has(name)));
  for (const node of graph.nodes) {
    for (const { graph: subgraph } of subgraphsOf(node)) {
      for (const [name, stored] of everyConstant(subgraph)) constants.set(name, stored);
    }
  }
  return constants;
}

/** How a node is shown in messages: its name, or its operator and first output when it has none. */
export function describeNode(node: Node): string {
  if (node.name !== '') return `${node.opType} '${node.name}'`;
  const output = node.outputs.find((name) => name !== '');
  return output === undefined ? `${node.opType} without outputs` : `${node.opType} → ${output}`;
}
