/** Removes nodes, initializers and optional outputs that nobody reads. */
import { type GraphEditor, type Node } from '../../onnx/index.js';
import { graphPass } from '../pass.js';

/** Outputs that a node may leave out. */
const OPTIONAL_OUTPUTS: Readonly<Record<string, readonly number[]>> = {
  Dropout: [1],
  GRU: [0, 1],
  LayerNormalization: [1, 2],
  LSTM: [0, 1, 2],
  MaxPool: [1],
  RNN: [0, 1],
  Unique: [1, 2, 3],
};

function isRead(value: string, graph: GraphEditor): boolean {
  return value !== '' && (graph.isGraphOutput(value) || graph.consumers(value).length > 0);
}

/** The node without the optional outputs nobody reads; trailing ones are dropped, others become ''. */
function withoutUnreadOutputs(node: Node, graph: GraphEditor): Node {
  const optional = node.domain === '' ? (OPTIONAL_OUTPUTS[node.opType] ?? []) : [];
  const outputs = node.outputs.map((o, i) => (optional.includes(i) && !isRead(o, graph) ? '' : o));
  while (outputs.at(-1) === '') outputs.pop();
  return outputs.length === node.outputs.length && outputs.every((o, i) => o === node.outputs[i])
    ? node
    : { ...node, outputs };
}

export const prune = graphPass('prune', ({ graph }, log) => {
  // Readers come after what they read, so one sweep from the end removes whole chains.
  for (const node of [...graph.nodes].reverse()) {
    if (!node.outputs.some((o) => isRead(o, graph))) {
      graph.remove(node);
      log.changed();
      continue;
    }
    const after = withoutUnreadOutputs(node, graph);
    if (after === node) continue;
    graph.replace(node, after);
    log.changed();
  }
  for (const name of [...graph.initializers.keys()]) {
    if (isRead(name, graph) || graph.isGraphInput(name)) continue;
    graph.removeInitializer(name);
    log.changed();
  }
});
