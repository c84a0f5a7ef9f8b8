/** Walking through a graph part by part: each part runs once for all batches, and only values still needed are kept. */
import { assert, required, type Context } from '../core/index.js';
import { openSession, type Batch } from '../engine/index.js';
import {
  namesRead,
  value,
  withGraph,
  type Graph,
  type Model,
  type Node,
  type ValueInfo,
} from '../onnx/index.js';
import { type Tensor } from '../tensor/index.js';

/** A walk through one model. Nodes run once, in parts; weights of nodes that have not run may still change. */
export interface Walk {
  /** The model as it stands. */
  readonly model: Model;
  /** Runs what is missing and returns a value's tensors, one a batch. They stay alive until {@link release}. */
  compute(name: string): Promise<readonly Tensor[]>;
  /** Whether a value can be had without running any of these nodes. */
  reaches(name: string, without: (node: Node) => boolean): boolean;
  /** Replaces initializers; their readers must not have run. */
  setInitializers(tensors: Graph['initializers']): void;
  /** Drops values that no node still to run reads, except `kept`. */
  release(kept?: ReadonlySet<string>): void;
}

/** Starts a walk at the model's inputs. */
export function startWalk(start: Model, batches: readonly Batch[], ctx: Context): Walk {
  let model = start;
  const done = new Set<Node>();
  const live = new Map<string, Tensor[]>();
  for (const input of model.graph.inputs) {
    const tensors = batches.map((b) => b.inputs.get(input.name));
    if (tensors.every((t) => t !== undefined)) live.set(input.name, tensors);
  }

  const missing = (name: string): Node[] => {
    const producer = new Map(model.graph.nodes.flatMap((n) => n.outputs.map((o) => [o, n] as const)));
    const needed = new Set<Node>();
    const stack = [name];
    for (let at = stack.pop(); at !== undefined; at = stack.pop()) {
      if (live.has(at)) continue;
      const node = producer.get(at);
      if (node === undefined || needed.has(node)) continue;
      needed.add(node);
      stack.push(...namesRead(node));
    }
    return model.graph.nodes.filter((n) => needed.has(n));
  };

  const compute = async (name: string): Promise<readonly Tensor[]> => {
    const known = live.get(name);
    if (known !== undefined) return known;
    const nodes = missing(name);
    const pending = model.graph.nodes.filter((n) => !done.has(n) && !nodes.includes(n));
    const later = new Set([
      ...pending.flatMap((n) => [...namesRead(n)]),
      ...model.graph.outputs.map((o) => o.name),
    ]);
    const made = nodes.flatMap((n) => n.outputs.filter((o) => o === name || later.has(o)));
    const part = slice(model, nodes, live, made);
    const session = await openSession(part, { threads: ctx.threads });
    try {
      const results: Map<string, Tensor>[] = [];
      for (let b = 0; b < batches.length; b++) {
        const feeds = part.graph.inputs.map(
          (v) => [v.name, required(live.get(v.name)?.[b], v.name)] as const,
        );
        results.push(await session.run(new Map(feeds)));
      }
      for (const output of made)
        live.set(
          output,
          results.map((r) => required(r.get(output), output)),
        );
    } finally {
      await session.release();
    }
    for (const node of nodes) done.add(node);
    return required(live.get(name), name);
  };

  return {
    get model() {
      return model;
    },
    compute,
    reaches: (name, without) => !missing(name).some(without),
    setInitializers: (tensors) => {
      for (const node of done)
        assert(!node.inputs.some((i) => tensors.has(i)), `${node.name} ran before its weight was solved`);
      const initializers = new Map([...model.graph.initializers, ...tensors]);
      model = withGraph(model, { ...model.graph, initializers });
    },
    release: (kept = new Set()) => {
      const read = new Set<string>(kept);
      for (const node of model.graph.nodes)
        if (!done.has(node)) for (const name of namesRead(node)) read.add(name);
      for (const output of model.graph.outputs) read.add(output.name);
      for (const name of live.keys()) if (!read.has(name)) live.delete(name);
    },
  };
}

/** The nodes as a model of its own, fed with live values. */
function slice(
  model: Model,
  nodes: readonly Node[],
  live: ReadonlyMap<string, readonly Tensor[]>,
  outputs: readonly string[],
): Model {
  const read = new Set(nodes.flatMap((n) => [...namesRead(n)]));
  const inputs = [...live]
    .filter(([name]) => read.has(name))
    .map(([name, tensors]) => declare(name, tensors));
  const initializers = new Map(
    [...model.graph.initializers].filter(([name]) => read.has(name) && !live.has(name)),
  );
  return withGraph(model, {
    name: 'part',
    inputs,
    nodes,
    initializers,
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
