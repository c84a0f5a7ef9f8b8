/** Walking through a model once, stopping before chosen nodes with the values that the rest of it still needs. */
import { required, type Context } from '../core/index.js';
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

/** The state of a walk before the node at `position`. */
export interface Cut {
  readonly position: number;
  /** Values computed so far that later nodes or outputs read, a tensor for each batch. */
  readonly live: ReadonlyMap<string, readonly Tensor[]>;
}

/**
 * Runs a model part by part and yields a cut at every position, ascending. All parts together are one forward pass.
 */
export async function* walkCuts(
  model: Model,
  batches: readonly Batch[],
  positions: readonly number[],
  ctx: Context,
): AsyncGenerator<Cut> {
  const { nodes, inputs } = model.graph;
  let live = new Map<string, readonly Tensor[]>();
  for (const { name } of inputs) {
    const tensors = batches.map((b) => b.inputs.get(name));
    if (tensors.every((t) => t !== undefined)) live.set(name, tensors);
  }
  let from = 0;
  for (const position of positions) {
    if (position > from) {
      const part = nodes.slice(from, position);
      const needed = readFrom(model.graph, position);
      const made = part.flatMap((n) => n.outputs.filter((o) => o !== '' && needed.has(o)));
      const results = await runPart(sliceGraph(model, part, live, made), batches.length, live, ctx);
      live = new Map([...live, ...results].filter(([name]) => needed.has(name)));
      from = position;
    }
    yield { position, live };
  }
}

/** Names that nodes from a position on, or the outputs of the graph, read. */
function readFrom({ nodes, outputs }: Graph, position: number): Set<string> {
  const read = new Set(outputs.map((o) => o.name));
  for (const node of nodes.slice(position)) for (const name of namesRead(node)) read.add(name);
  return read;
}

async function runPart(
  part: Model,
  batches: number,
  live: ReadonlyMap<string, readonly Tensor[]>,
  ctx: Context,
): Promise<Map<string, Tensor[]>> {
  const results = new Map<string, Tensor[]>(part.graph.outputs.map((o) => [o.name, []]));
  if (results.size === 0) return results;
  const session = await openSession(part, { threads: ctx.threads });
  try {
    for (let b = 0; b < batches; b++) {
      const feeds = new Map(part.graph.inputs.map((v) => [v.name, tensorAt(live, v.name, b)]));
      for (const [name, t] of await session.run(feeds)) results.get(name)?.push(t);
    }
  } finally {
    await session.release();
  }
  return results;
}

/** One batch of a live value. */
export function tensorAt(live: ReadonlyMap<string, readonly Tensor[]>, name: string, batch: number): Tensor {
  return required(live.get(name)?.[batch], `value ${name}`);
}

/** Nodes as a model of their own, fed with live values and with the graph inputs named in `extra`. */
export function sliceGraph(
  model: Model,
  nodes: readonly Node[],
  live: ReadonlyMap<string, readonly Tensor[]>,
  outputs: readonly string[],
  extra: readonly ValueInfo[] = [],
): Model {
  const read = new Set([...nodes.flatMap((n) => [...namesRead(n)]), ...outputs]);
  const inputs = [...live]
    .filter(([name]) => read.has(name))
    .map(([name, tensors]) => declare(name, tensors));
  const initializers = new Map(
    [...model.graph.initializers].filter(([name]) => read.has(name) && !live.has(name)),
  );
  return withGraph(model, {
    name: 'part',
    inputs: [...inputs, ...extra],
    nodes,
    initializers,
    outputs: outputs.map((name) => ({ name, type: undefined, proto: {} })),
    valueInfo: new Map(),
  });
}

/** A graph input for these tensors; dimensions in which they differ stay open. */
function declare(name: string, tensors: readonly Tensor[]): ValueInfo {
  const first = required(tensors[0], name);
  const dims = first.dims.map((d, axis) => (tensors.every((t) => t.dims[axis] === d) ? d : null));
  return value(name, first.dtype, dims);
}
