/** Building nodes, values, graphs and models from plain values. */
import { FxqError } from '../core/index.js';
import { type DType, type Tensor } from '../tensor/index.js';
import { encodeTensorType } from './encode.js';
import {
  type Attribute,
  type Dim,
  type Graph,
  type Model,
  type Node,
  type StoredTensor,
  type ValueInfo,
} from './model.js';
import { storeTensor } from './stored-tensor.js';

/** What an attribute may be given as: integers and floats are told apart by {@link float}. */
export type AttributeInput =
  number | bigint | string | readonly number[] | Tensor | Graph | Attribute | { readonly float: number };

/** Marks a number as a float attribute (`alpha`, `epsilon`); plain numbers become integers. */
export function float(value: number): { readonly float: number } {
  return { float: value };
}

function toAttribute(name: string, value: AttributeInput): Attribute {
  if (typeof value === 'number') {
    if (!Number.isInteger(value))
      throw new FxqError('E_INTERNAL', `internal: attribute ${name}=${value} needs float()`);
    return { kind: 'int', value: BigInt(value) };
  }
  if (typeof value === 'bigint') return { kind: 'int', value };
  if (typeof value === 'string') return { kind: 'string', value: new TextEncoder().encode(value) };
  if (Array.isArray(value)) return { kind: 'ints', value: value.map(BigInt) };
  const object = value as Exclude<AttributeInput, number | bigint | string | readonly number[]>;
  if ('float' in object) return { kind: 'float', value: object.float };
  if ('kind' in object) return object;
  if ('nodes' in object) return { kind: 'graph', value: object };
  return { kind: 'tensor', value: storeTensor(object) };
}

export interface NodeOptions {
  readonly name?: string;
  readonly domain?: string;
}

/** Creates a node. `inputs` may hold '' for omitted optional ones. */
export function node(
  opType: string,
  inputs: readonly string[],
  outputs: readonly string[],
  attributes: Record<string, AttributeInput> = {},
  options: NodeOptions = {},
): Node {
  return {
    opType,
    domain: options.domain ?? '',
    name: options.name ?? `${opType}_${outputs[0] ?? ''}`,
    inputs,
    outputs,
    attributes: new Map(Object.entries(attributes).map(([name, value]) => [name, toAttribute(name, value)])),
  };
}

/** The node with some attributes set or replaced. */
export function withAttributes(node: Node, attributes: Record<string, AttributeInput>): Node {
  const merged = new Map(node.attributes);
  for (const [name, value] of Object.entries(attributes)) merged.set(name, toAttribute(name, value));
  return { ...node, attributes: merged };
}

/** Declares a tensor value; without `dims` its rank is unknown. */
export function value(name: string, dtype: DType | 'string', dims?: readonly Dim[]): ValueInfo {
  const type = { dtype, dims };
  const proto = encodeTensorType(type);
  return { name, type, proto: proto === undefined ? {} : { type: proto } };
}

export interface GraphParts {
  readonly name?: string;
  readonly inputs: readonly ValueInfo[];
  readonly outputs: readonly ValueInfo[];
  readonly nodes: readonly Node[];
  readonly initializers?: Iterable<readonly [string, Tensor | StoredTensor]>;
}

/** Creates a graph; nodes must be in topological order. */
export function graph(parts: GraphParts): Graph {
  return {
    name: parts.name ?? 'graph',
    inputs: parts.inputs,
    outputs: parts.outputs,
    nodes: parts.nodes,
    initializers: new Map(
      [...(parts.initializers ?? [])].map(([name, t]) => [name, 'source' in t ? t : storeTensor(t)]),
    ),
    valueInfo: new Map(),
  };
}

/** IR version that goes with a standard opset (release table of the ONNX specification). */
export function irVersionFor(opset: number): number {
  if (opset <= 8) return 3;
  if (opset <= 9) return 4;
  if (opset <= 10) return 5;
  if (opset <= 11) return 6;
  if (opset <= 14) return 7;
  if (opset <= 18) return 8;
  if (opset <= 20) return 9;
  if (opset <= 22) return 10;
  if (opset <= 23) return 11;
  if (opset <= 24) return 12;
  return 13;
}

/** Creates a model around a graph. */
export function model(graph: Graph, opset = 21, domains: Record<string, number> = {}): Model {
  return {
    irVersion: irVersionFor(opset),
    opsets: new Map([['', opset], ...Object.entries(domains)]),
    graph,
    metadata: new Map(),
  };
}
