/** What lies between the values that two versions of a model share: the nodes and weights of one layer. */
import { namesRead, tensorBytes, type Graph, type Node, type StoredTensor } from '../onnx/index.js';

/** Nodes that compute one shared value from other shared values, and the constants they read. */
export interface Segment {
  /** The value it ends in. */
  readonly value: string;
  /** The node that computes the value, looking through conversions of number format. */
  readonly node: Node;
  /** Constants first read here, by name; a shared one belongs to its first reader in graph order. */
  readonly constants: ReadonlyMap<string, StoredTensor>;
}

const CONVERSIONS = new Set(['QuantizeLinear', 'DequantizeLinear', 'Cast', 'Identity']);

/** Values computed from the inputs that nodes of both graphs write, in the order of the second graph. */
export function sharedValues(float: Graph, quantized: Graph): string[] {
  const written = new Set(float.nodes.flatMap((node) => node.outputs));
  const variable = new Set(quantized.inputs.map((input) => input.name));
  for (const name of quantized.initializers.keys()) variable.delete(name);
  return quantized.nodes.flatMap((node) => {
    if (![...namesRead(node)].some((name) => variable.has(name))) return [];
    for (const name of node.outputs) variable.add(name);
    return node.outputs.filter((name) => name !== '' && written.has(name));
  });
}

/** Cuts a graph at the shared values; one segment for each, in the order given. */
export function cutAt(graph: Graph, values: readonly string[]): Segment[] {
  const producer = producersOf(graph);
  const constants = constantsOf(graph);
  const shared = new Set(values);
  const claimed = new Set<string>();
  return values.flatMap((value) => {
    const last = producer.get(value);
    if (last === undefined) return [];
    const found = new Map<string, StoredTensor>();
    const seen = new Set<Node>();
    const stack = [last];
    for (let node = stack.pop(); node !== undefined; node = stack.pop()) {
      if (seen.has(node)) continue;
      seen.add(node);
      for (const name of namesRead(node)) {
        const constant = constants.get(name);
        if (constant !== undefined && !claimed.has(name)) {
          claimed.add(name);
          found.set(name, constant);
        }
        const source = producer.get(name);
        if (source !== undefined && constant === undefined && !shared.has(name)) stack.push(source);
      }
    }
    return [{ value, node: throughConversions(last, producer, shared), constants: found }];
  });
}

/** Nodes by the values they write. */
export function producersOf(graph: Graph): Map<string, Node> {
  return new Map(graph.nodes.flatMap((node) => node.outputs.map((name) => [name, node] as const)));
}

/** Initializers and the tensors of Constant nodes, by value name. */
export function constantsOf(graph: Graph): Map<string, StoredTensor> {
  const constants = new Map(graph.initializers);
  for (const node of graph.nodes) {
    const attribute = node.opType === 'Constant' ? node.attributes.get('value') : undefined;
    if (attribute?.kind === 'tensor') constants.set(node.outputs[0] ?? '', attribute.value);
  }
  return constants;
}

/** Bytes of stored tensors. */
export function bytesOf(tensors: Iterable<StoredTensor>): number {
  let sum = 0;
  for (const stored of tensors) sum += tensorBytes(stored);
  return sum;
}

function throughConversions(
  node: Node,
  producer: ReadonlyMap<string, Node>,
  shared: ReadonlySet<string>,
): Node {
  const input = node.inputs[0] ?? '';
  const before = producer.get(input);
  if (!CONVERSIONS.has(node.opType) || before === undefined || shared.has(input)) return node;
  return throughConversions(before, producer, shared);
}
