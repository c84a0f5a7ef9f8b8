/** Walking through a graph part by part: each node runs once for all batches, and only values still needed are kept. */
import { assert, required, type Context } from '../../core/index.js';
import { openSession, type Batch } from '../../engine/index.js';
import {
  namesRead,
  value,
  withGraph,
  type Graph,
  type Model,
  type Node,
  type ValueInfo,
} from '../../onnx/index.js';
import { type Tensor } from '../../tensor/index.js';

/** A walk through one model. Weights of nodes that have not run may still change. */
export interface Walk {
  /** The model as it stands. */
  readonly model: Model;
  /** A value's tensors, one a batch; runs what is missing. They stay until {@link release}. */
  compute(name: string): Promise<readonly Tensor[]>;
  /** Whether a value can be had without running nodes of some kind. */
  reaches(name: string, avoiding: (node: Node) => boolean): boolean;
  /** Replaces initializers whose readers have not run. */
  setInitializers(tensors: Graph['initializers']): void;
  /** Drops the values that no node still to run reads. */
  release(): void;
}

/** Starts a walk at the model's inputs. */
export function startWalk(start: Model, batches: readonly Batch[], ctx: Context): Walk {
  let model = start;
  const done = new Set<Node>();
  const live = new Map<string, readonly Tensor[]>();
  for (const { name } of model.graph.inputs) {
    const tensors = batches.flatMap((b) => b.inputs.get(name) ?? []);
    if (tensors.length === batches.length) live.set(name, tensors);
  }
  const producer = new Map(model.graph.nodes.flatMap((n) => n.outputs.map((o) => [o, n] as const)));
  const outputs = new Set(model.graph.outputs.map((o) => o.name));

  /** Nodes to run for a value, in order. */
  const missing = (name: string): Node[] => {
    const needed = new Set<Node>();
    const stack = [name];
    for (let at = stack.pop(); at !== undefined; at = stack.pop()) {
      const node = live.has(at) ? undefined : producer.get(at);
      if (node === undefined || needed.has(node)) continue;
      needed.add(node);
      stack.push(...namesRead(node));
    }
    return model.graph.nodes.filter((n) => needed.has(n));
  };

  /** Values that nodes outside of `running` still read. */
  const readLater = (running: ReadonlySet<Node>): Set<string> => {
    const waiting = model.graph.nodes.filter((n) => !done.has(n) && !running.has(n));
    return new Set([...outputs, ...waiting.flatMap((n) => [...namesRead(n)])]);
  };

  const compute = async (name: string): Promise<readonly Tensor[]> => {
    const known = live.get(name);
    if (known !== undefined) return known;
    const nodes = missing(name);
    const later = readLater(new Set(nodes));
    const made = nodes.flatMap((n) => n.outputs.filter((o) => o !== '' && (o === name || later.has(o))));
    const part = partOf(model, nodes, live, made);
    const session = await openSession(part, { threads: ctx.threads });
    const results: ReadonlyMap<string, Tensor>[] = [];
    try {
      for (let b = 0; b < batches.length; b++) {
        const feeds = part.graph.inputs.map(
          (v) => [v.name, required(live.get(v.name)?.[b], v.name)] as const,
        );
        results.push(await session.run(new Map(feeds)));
      }
    } finally {
      await session.release();
    }
    for (const output of made)
      live.set(
        output,
        results.map((r) => required(r.get(output), output)),
      );
    for (const node of nodes) done.add(node);
    return required(live.get(name), name);
  };

  return {
    get model() {
      return model;
    },
    compute,
    reaches: (name, avoiding) => !missing(name).some(avoiding),
    setInitializers: (tensors) => {
      const late = [...done].find((n) => n.inputs.some((i) => tensors.has(i)));
      assert(late === undefined, `'${late?.name}' ran before its weight was solved`);
      model = withInitializers(model, tensors);
    },
    release: () => {
      const later = readLater(new Set());
      for (const name of [...live.keys()]) if (!later.has(name)) live.delete(name);
    },
  };
}

/** The model with some initializers replaced. */
export function withInitializers(model: Model, tensors: Graph['initializers']): Model {
  const initializers = new Map([...model.graph.initializers, ...tensors]);
  return withGraph(model, { ...model.graph, initializers });
}

/** Some nodes as a model of their own, fed with live values. */
function partOf(
  model: Model,
  nodes: readonly Node[],
  live: ReadonlyMap<string, readonly Tensor[]>,
  outputs: readonly string[],
): Model {
  const read = new Set(nodes.flatMap((n) => [...namesRead(n)]));
  const { initializers } = model.graph;
  return withGraph(model, {
    name: 'part',
    inputs: [...live].filter(([name]) => read.has(name)).map(([name, tensors]) => declare(name, tensors)),
    nodes,
    initializers: new Map([...initializers].filter(([name]) => read.has(name) && !live.has(name))),
    outputs: outputs.map((name) => ({ name, type: undefined, proto: {} })),
    valueInfo: new Map(),
  });
}

/** A graph input for these tensors; dimensions in which they differ stay open. */
export function declare(name: string, tensors: readonly Tensor[]): ValueInfo {
  const first = required(tensors[0], name);
  const dims = first.dims.map((d, axis) => (tensors.every((t) => t.dims[axis] === d) ? d : null));
  return value(name, first.dtype, dims);
}
