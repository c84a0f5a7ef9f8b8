/** Editing a graph: a working copy that knows producers and consumers, turned back into an immutable Graph at the end. */
import { assert } from '../core/index.js';
import { type Tensor } from '../tensor/index.js';
import {
  freeNames,
  namesRead,
  subgraphsOf,
  mapSubgraphs,
  type Graph,
  type Node,
  type StoredTensor,
  type ValueInfo,
} from './model.js';
import { node as createNode, type AttributeInput } from './builder.js';
import { loadTensor, storeTensor } from './stored-tensor.js';

/** Mutable view of one graph. Node objects stay immutable: a change replaces the node. */
export class GraphEditor {
  readonly #source: Graph;
  readonly #nodes: Set<Node>;
  readonly initializers: Map<string, StoredTensor>;
  readonly valueInfo: Map<string, ValueInfo>;
  inputs: readonly ValueInfo[];
  outputs: readonly ValueInfo[];
  readonly #producer = new Map<string, Node>();
  readonly #consumers = new Map<string, Set<Node>>();
  readonly #taken: Set<string>;
  readonly #counts = new Map<string, number>();
  /** Place of each node in the order of the source. */
  readonly #position: Map<Node, number>;
  #changed = false;

  /** `taken` names are not given to new values; pass one set for a model when its subgraphs are edited too. */
  constructor(graph: Graph, taken: Set<string> = namesOf(graph)) {
    this.#source = graph;
    this.#nodes = new Set(graph.nodes);
    this.#position = new Map(graph.nodes.map((node, i) => [node, i]));
    this.initializers = new Map(graph.initializers);
    this.valueInfo = new Map(graph.valueInfo);
    this.inputs = graph.inputs;
    this.outputs = graph.outputs;
    this.#taken = taken;
    for (const node of graph.nodes) this.#index(node);
  }

  get nodes(): readonly Node[] {
    return [...this.#nodes];
  }

  get changed(): boolean {
    return this.#changed;
  }

  has(node: Node): boolean {
    return this.#nodes.has(node);
  }

  producer(value: string): Node | undefined {
    return this.#producer.get(value);
  }

  /** Nodes that read a value, themselves or in a subgraph. */
  consumers(value: string): readonly Node[] {
    return [...(this.#consumers.get(value) ?? [])];
  }

  isGraphInput(value: string): boolean {
    return this.inputs.some((v) => v.name === value);
  }

  isGraphOutput(value: string): boolean {
    return this.outputs.some((v) => v.name === value);
  }

  /** The one node that reads a value which nobody else sees; undefined when it is shared or a graph output. */
  soleConsumer(value: string): Node | undefined {
    const all = this.consumers(value);
    return all.length === 1 && !this.isGraphOutput(value) ? all[0] : undefined;
  }

  /** An initializer that cannot be overridden from outside. */
  constant(value: string): StoredTensor | undefined {
    return this.isGraphInput(value) ? undefined : this.initializers.get(value);
  }

  /** Elements of a constant, or undefined when the value is not one. */
  constantTensor(value: string): Tensor | undefined {
    const stored = this.constant(value);
    if (stored?.dtype === undefined || stored.dtype === 'string' || stored.source.kind === 'opaque')
      return undefined;
    return loadTensor(stored, value);
  }

  /** A name no value or node of the graph has, derived from `base`. */
  uniqueName(base: string): string {
    let name = base;
    // Names are never given back, so counting goes on where it stopped.
    let count = this.#counts.get(base) ?? 0;
    while (this.#taken.has(name)) name = `${base}_${++count}`;
    this.#counts.set(base, count);
    this.#taken.add(name);
    return name;
  }

  addInitializer(base: string, tensor: Tensor | StoredTensor): string {
    const name = this.uniqueName(base);
    this.initializers.set(name, 'source' in tensor ? tensor : storeTensor(tensor));
    this.#changed = true;
    return name;
  }

  removeInitializer(name: string): void {
    assert(this.initializers.delete(name), `initializer ${name} is not in the graph`);
    this.#changed = true;
  }

  /** Adds a node anywhere; order is restored by {@link finish}. */
  add(node: Node): Node {
    this.#nodes.add(node);
    this.#index(node);
    this.#changed = true;
    return node;
  }

  /** Builds and adds a node with one fresh output; returns the output's name. */
  emit(
    opType: string,
    inputs: readonly string[],
    attributes: Record<string, AttributeInput> = {},
    base = opType,
    domain = '',
  ): string {
    const output = this.uniqueName(base);
    this.add(
      createNode(opType, inputs, [output], attributes, { name: this.uniqueName(`${base}_node`), domain }),
    );
    return output;
  }

  remove(node: Node): void {
    assert(this.#nodes.delete(node), `node ${node.name} is not in the graph`);
    for (const name of namesRead(node)) this.#consumers.get(name)?.delete(node);
    for (const name of node.outputs) if (this.#producer.get(name) === node) this.#producer.delete(name);
    this.#changed = true;
  }

  /** Puts a node in the place of another, also in the order of nodes. */
  replace(before: Node, after: Node): Node {
    this.remove(before);
    this.#position.set(after, this.#position.get(before) ?? Infinity);
    return this.add(after);
  }

  /** Makes every reader of `from` read `to`, in subgraphs too; `except` keeps its input. Graph outputs are not renamed. */
  redirect(from: string, to: string, except?: Node): void {
    for (const node of this.consumers(from)) {
      if (node !== except) this.replace(node, renameInputs(node, new Map([[from, to]])));
    }
  }

  /** Changes one input of a node. */
  setInput(node: Node, index: number, value: string): Node {
    const inputs = [...node.inputs];
    inputs[index] = value;
    return this.replace(node, { ...node, inputs });
  }

  /**
   * The edited graph: nodes in a stable topological order, unread initializers and stale value infos dropped.
   * Nodes whose outputs are unread are dropped too when `prune` is set.
   */
  finish(options: { prune?: boolean } = {}): Graph {
    if (!this.#changed && options.prune !== true) return this.#source;
    if (options.prune === true) this.#prune();
    const nodes = this.#sorted();
    const read = new Set<string>(this.outputs.map((v) => v.name));
    for (const node of nodes) for (const name of namesRead(node)) read.add(name);
    const written = new Set(nodes.flatMap((n) => n.outputs));
    const initializers = new Map(
      [...this.initializers].filter(([name]) => read.has(name) || this.isGraphInput(name)),
    );
    const valueInfo = new Map(
      [...this.valueInfo].filter(([name]) => written.has(name) || initializers.has(name)),
    );
    return { ...this.#source, inputs: this.inputs, outputs: this.outputs, nodes, initializers, valueInfo };
  }

  #index(node: Node): void {
    for (const name of node.outputs) if (name !== '') this.#producer.set(name, node);
    for (const name of namesRead(node)) {
      const readers = this.#consumers.get(name);
      if (readers === undefined) this.#consumers.set(name, new Set([node]));
      else readers.add(node);
    }
    for (const name of [...node.outputs, node.name]) if (name !== '') this.#taken.add(name);
  }

  #prune(): void {
    const stack = this.nodes.filter((n) => this.#isDead(n));
    for (let node = stack.pop(); node !== undefined; node = stack.pop()) {
      if (!this.#nodes.has(node)) continue;
      const inputs = [...namesRead(node)];
      this.remove(node);
      for (const name of inputs) {
        const source = this.#producer.get(name);
        if (source !== undefined && this.#isDead(source)) stack.push(source);
      }
    }
  }

  #isDead(node: Node): boolean {
    return node.outputs.every((o) => o === '' || (this.consumers(o).length === 0 && !this.isGraphOutput(o)));
  }

  #sorted(): Node[] {
    const order: Node[] = [];
    const state = new Map<Node, 'open' | 'done'>();
    // Depth-first from the original order keeps untouched graphs as they were and puts new nodes before their readers.
    const seeds = [...this.#nodes].sort(
      (a, b) => (this.#position.get(a) ?? Infinity) - (this.#position.get(b) ?? Infinity) || 0,
    );
    for (const seed of seeds) {
      const stack: Node[] = [seed];
      while (stack.length > 0) {
        const node = stack[stack.length - 1] as Node;
        if (state.get(node) === 'done') {
          stack.pop();
          continue;
        }
        const waiting: Node[] = [];
        for (const name of namesRead(node)) {
          const source = this.#producer.get(name);
          if (source !== undefined && state.get(source) !== 'done') waiting.push(source);
        }
        if (waiting.length === 0) {
          state.set(node, 'done');
          order.push(node);
          stack.pop();
          continue;
        }
        assert(state.get(node) !== 'open', `the edit made a cycle through ${node.name}`);
        state.set(node, 'open');
        stack.push(...waiting.reverse());
      }
    }
    return order;
  }
}

/** Every name a graph or its subgraphs use, for values and nodes. */
export function namesOf(graph: Graph): Set<string> {
  const names = new Set<string>([
    ...graph.initializers.keys(),
    ...graph.inputs.map((v) => v.name),
    ...freeNames(graph),
  ]);
  for (const node of graph.nodes) {
    names.add(node.name);
    for (const name of [...node.inputs, ...node.outputs]) names.add(name);
    for (const { graph: subgraph } of subgraphsOf(node))
      for (const name of namesOf(subgraph)) names.add(name);
  }
  return names;
}

/** The graph with other names for some of its own values and constants; subgraphs must not read them. */
export function renameValues(graph: Graph, names: ReadonlyMap<string, string>): Graph {
  const renamed = (name: string): string => names.get(name) ?? name;
  const nodes = graph.nodes.map((node) =>
    [...node.inputs, ...node.outputs].some((name) => names.has(name))
      ? { ...node, inputs: node.inputs.map(renamed), outputs: node.outputs.map(renamed) }
      : node,
  );
  const valueInfo = new Map(
    [...graph.valueInfo.values()].map((info): [string, ValueInfo] => {
      const name = renamed(info.name);
      return [name, name === info.name ? info : { ...info, name }];
    }),
  );
  return { ...graph, nodes, valueInfo };
}

/** The node reading other values, in its subgraphs too. */
export function renameInputs(node: Node, names: ReadonlyMap<string, string>): Node {
  const inputs = node.inputs.map((name) => names.get(name) ?? name);
  return mapSubgraphs({ ...node, inputs }, (graph) => renameFree(graph, names));
}

function renameFree(graph: Graph, names: ReadonlyMap<string, string>): Graph {
  const free = freeNames(graph);
  const relevant = new Map([...names].filter(([from]) => free.has(from)));
  if (relevant.size === 0) return graph;
  return {
    ...graph,
    nodes: graph.nodes.map((n) => renameInputs(n, relevant)),
    // A subgraph output that is an outer value needs an Identity to keep its own name; renaming it is enough here
    // because subgraph outputs are matched by position.
    outputs: graph.outputs.map((o) => ({ ...o, name: relevant.get(o.name) ?? o.name })),
  };
}
