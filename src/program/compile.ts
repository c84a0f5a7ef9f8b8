/** From a recorded program to an ONNX model, and from there to a session of the runtime. */
import { FxqError, required } from '../core/index.js';
import { openSession, type Session, type SessionOptions } from '../engine/index.js';
import {
  graph as createGraph,
  model as createModel,
  namesRead,
  node as createNode,
  value as createValueInfo,
  type Model,
  type Node,
} from '../onnx/index.js';
import { type Tensor } from '../tensor/index.js';
import { isValue, type Program } from './program.js';
import { type Step } from './tape.js';
import { mapTree, type MapTree, type Tree } from './tree.js';
import { type Value } from './value.js';

/**
 * The nodes behind some values, in order; what nothing needs is left out. Names are left out, too: a node of the user's
 * model may be recorded more than once.
 */
export function neededNodes(steps: readonly Step[], results: Iterable<string>): Node[] {
  const needed = new Set(results);
  const nodes: Node[] = [];
  for (const { node } of [...steps].reverse()) {
    if (!node.outputs.some((o) => needed.has(o))) continue;
    for (const name of namesRead(node)) needed.add(name);
    nodes.push({ ...node, name: '' });
  }
  return nodes.reverse();
}

/** The program as a model with the given outputs; inputs keep their names, nodes nothing needs are dropped. */
export function toModel(p: Program, outputs: Readonly<Record<string, Value>>): Model {
  const entries = Object.entries(outputs);
  const clash = entries.find(([name]) => p.tape.has(name));
  if (clash !== undefined)
    throw new FxqError('E_INTERNAL', `internal: output '${clash[0]}' has the name of a value of the program`);
  const results = entries.map(([name, { name: value }]) =>
    createNode('Identity', [value], [name], {}, { name: `output ${name}` }),
  );
  const nodes = [
    ...neededNodes(
      p.tape.steps,
      entries.map(([, v]) => v.name),
    ),
    ...results,
  ];
  const read = new Set(nodes.flatMap((node) => [...namesRead(node)]));
  return createModel(
    createGraph({
      name: 'program',
      inputs: p.tape.inputs.filter((input) => read.has(input.name)),
      outputs: entries.map(([name, { dtype, dims }]) => createValueInfo(name, dtype, dims)),
      nodes,
      initializers: [...p.tape.constants].filter(([name]) => read.has(name)),
    }),
    p.tape.opset,
  );
}

/** A compiled program with outputs nested as they were given. */
export interface OpenProgram<R> {
  /** Runs the program; every input it reads must be fed. */
  run(feeds: Readonly<Record<string, Tensor>>): Promise<R>;
  release(): Promise<void>;
}

/**
 * Compiles a program and opens a session on it.
 *
 * @param open where the session is: in this thread, or in one of its own (`openSessionThread`)
 */
export async function openProgram<T extends Tree<Value>, R = MapTree<T, Tensor>>(
  p: Program,
  outputs: T,
  options: SessionOptions = {},
  open: (model: Model, options: SessionOptions) => Promise<Session> = openSession,
): Promise<OpenProgram<R>> {
  const names = new Map<string, Value>();
  const named: Tree<string> = mapTree<Value, string>(outputs as Tree<Value>, isValue, (leaf, path) => {
    const name = `result:${path}`;
    names.set(name, leaf);
    return name;
  });
  const session = await open(toModel(p, Object.fromEntries(names)), options);
  const read = new Set(session.inputs.map((i) => i.name));
  return {
    run: async (feeds) => {
      const results = await session.run(
        Object.fromEntries(Object.entries(feeds).filter(([name]) => read.has(name))),
      );
      const isName = (node: unknown): node is string => typeof node === 'string';
      const tensors: unknown = mapTree<string, Tensor>(named, isName, (name) =>
        required(results.get(name), `output ${name}`),
      );
      return tensors as R;
    },
    release: () => session.release(),
  };
}

/** Runs a program once. */
export async function runProgram<T extends Tree<Value>, R = MapTree<T, Tensor>>(
  p: Program,
  outputs: T,
  feeds: Readonly<Record<string, Tensor>> = {},
  options: SessionOptions = {},
): Promise<R> {
  const program = await openProgram<T, R>(p, outputs, options);
  try {
    return await program.run(feeds);
  } finally {
    await program.release();
  }
}
