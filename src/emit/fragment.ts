/** Pieces of graph: what an emitter adds for one tensor or node, and fresh names for it. */
import { namesOf, type Graph, type Node } from '../onnx/index.js';
import { type Tensor } from '../tensor/index.js';

/** Nodes in order and the initializers they read. */
export interface Fragment {
  readonly nodes: readonly Node[];
  readonly initializers: readonly (readonly [name: string, tensor: Tensor])[];
}

/** Gives names that no value or node has yet. */
export type FreshName = (base: string) => string;

export function freshNames(graph: Graph): FreshName {
  const taken = namesOf(graph);
  return (base) => {
    let name = base;
    for (let i = 1; taken.has(name); i++) name = `${base}_${i}`;
    taken.add(name);
    return name;
  };
}
