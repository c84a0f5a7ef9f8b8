/** Reordering the channels of streams in a graph: the same network, other neighbours. */
import {
  GraphEditor,
  loadTensor,
  renameValues,
  storeTensor,
  type Graph,
  type Node,
} from '../../onnx/index.js';
import { required } from '../../core/index.js';
import { createArray, type Tensor, type TypedArray } from '../../tensor/index.js';
import { type ChannelStream } from './channel-stream.js';

/** A stream, and the channel that comes to each position. */
export interface ReorderedStream {
  readonly stream: ChannelStream;
  readonly order: readonly number[];
}

/**
 * The graph with the channels of some streams in a new order. Their constants and values get new names, because a name
 * stands for what a value holds.
 */
export function permuteChannels(graph: Graph, reordered: readonly ReorderedStream[]): Graph {
  const editor = new GraphEditor(graph);
  const current = new Map<Node, Node>();
  for (const { stream, order } of reordered) {
    // A constant that several nodes read the same way is permuted once.
    const permuted = new Map<string, string>();
    for (const { node, input, axis } of stream.constants) {
      const name = required(node.inputs[input], `input ${input} of ${node.name}`);
      const now = current.get(node) ?? node;
      const chained = now.inputs[input] as string;
      const key = `${chained} ${axis}`;
      const stored = required(editor.constant(chained), `constant ${chained}`);
      const result =
        permuted.get(key) ??
        editor.addInitializer(
          `${name}_permuted`,
          storeTensor(reorderAxis(loadTensor(stored, name), axis, order)),
        );
      permuted.set(key, result);
      current.set(node, editor.setInput(now, input, result));
    }
  }
  const values = reordered.flatMap(({ stream }) => [...stream.values]);
  // No subgraph reads the values of a stream.
  const names = new Map(values.map((name) => [name, editor.uniqueName(`${name}_permuted`)]));
  return renameValues(editor.finish(), names);
}

/** Slices of a tensor along one axis in a new order. */
export function reorderAxis(t: Tensor, axis: number, order: readonly number[]): Tensor {
  const before = t.dims.slice(0, axis).reduce((product, d) => product * d, 1);
  const after = t.dims.slice(axis + 1).reduce((product, d) => product * d, 1);
  const data = createArray(t.dtype, t.data.length);
  const copy = data as Float32Array;
  const source = t.data as Float32Array;
  for (let b = 0; b < before; b++)
    order.forEach((from, to) => {
      const base = (b * order.length + from) * after;
      copy.set(source.subarray(base, base + after), (b * order.length + to) * after);
    });
  return { ...t, data: data as TypedArray };
}
