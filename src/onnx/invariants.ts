/** What must hold of a model before fxq works on it; every breach names file and node. */
import { FxqError, didYouMean } from '../core/index.js';
import { describeNode, namesRead, opsetOf, subgraphsOf, type Graph, type Model } from './model.js';

/** IR and standard operator set versions that onnxruntime 1.30 runs. */
export const SUPPORTED = { ir: [3, 13], opset: [7, 26] } as const;

/**
 * Checks versions, single assignment and topological order.
 *
 * @throws FxqError E_OPSET for versions outside {@link SUPPORTED}, E_GRAPH for a cyclic or inconsistent graph
 */
export function checkModel(model: Model, file: string): void {
  const [irLow, irHigh] = SUPPORTED.ir;
  if (model.irVersion < irLow || model.irVersion > irHigh) {
    throw new FxqError(
      'E_OPSET',
      `${file} has IR version ${model.irVersion}; fxq reads ${irLow} to ${irHigh}`,
      'Export the model with a current exporter.',
    );
  }
  const opset = opsetOf(model);
  const [low, high] = SUPPORTED.opset;
  if (opset < low || opset > high) {
    throw new FxqError(
      'E_OPSET',
      `${file} uses opset ${opset}; fxq reads ${low} to ${high}`,
      `Export the model with an opset from ${low} to ${high}.`,
    );
  }
  checkGraph(model.graph, file, new Set());
}

function checkGraph(graph: Graph, file: string, outer: ReadonlySet<string>): void {
  const defined = new Set([...outer, ...graph.initializers.keys(), ...graph.inputs.map((v) => v.name)]);
  const produced = new Map<string, string>();
  for (const node of graph.nodes) {
    for (const output of node.outputs) {
      if (output === '') continue;
      const other = produced.get(output);
      if (other !== undefined) {
        throw new FxqError(
          'E_GRAPH',
          `${file}: value '${output}' is written twice, by ${other} and ${describeNode(node)}`,
          'Give every value its own name.',
        );
      }
      produced.set(output, describeNode(node));
    }
  }
  for (const node of graph.nodes) {
    for (const input of namesRead(node)) {
      if (defined.has(input)) continue;
      if (produced.has(input)) throw disorder(graph, file, describeNode(node), input);
      throw new FxqError(
        'E_GRAPH',
        `${file}: ${describeNode(node)} reads '${input}', which nothing produces`,
        [didYouMean(input, [...defined, ...produced.keys()]), 'The file is damaged; export it again.'].filter(
          (s) => s !== '',
        ),
      );
    }
    for (const { graph: subgraph } of subgraphsOf(node)) checkGraph(subgraph, file, defined);
    for (const output of node.outputs) defined.add(output);
  }
  for (const output of graph.outputs) {
    if (!defined.has(output.name)) {
      throw new FxqError(
        'E_GRAPH',
        `${file}: nothing produces the graph output '${output.name}'`,
        'The file is damaged; export it again.',
      );
    }
  }
}

/** A value read before it is written: a cycle, or nodes in the wrong order. */
function disorder(graph: Graph, file: string, reader: string, input: string): FxqError {
  const cycle = findCycle(graph);
  return cycle === undefined
    ? new FxqError(
        'E_GRAPH',
        `${file}: the nodes are not in topological order: ${reader} reads '${input}' before it is written`,
        'Sort the graph (for example with an ONNX simplifier).',
      )
    : new FxqError(
        'E_GRAPH',
        `${file}: the graph is cyclic: ${cycle.join(' → ')}`,
        'An ONNX graph must be acyclic; use Loop or Scan for recurrence.',
      );
}

function findCycle(graph: Graph): string[] | undefined {
  const producer = new Map(graph.nodes.flatMap((n) => n.outputs.map((o) => [o, n] as const)));
  const done = new Set<string>();
  for (const start of graph.nodes) {
    const path: { output: string; rest: string[] }[] = [];
    const active = new Map<string, number>();
    const enter = (output: string): void => {
      const node = producer.get(output);
      active.set(output, path.length);
      path.push({ output, rest: node === undefined ? [] : [...namesRead(node)] });
    };
    enter(start.outputs[0] ?? '');
    while (path.length > 0) {
      const top = path[path.length - 1];
      if (top === undefined) break;
      const next = top.rest.pop();
      if (next === undefined) {
        done.add(top.output);
        active.delete(top.output);
        path.pop();
        continue;
      }
      const at = active.get(next);
      if (at !== undefined)
        return [
          ...path
            .slice(at)
            .map((p) => p.output)
            .reverse(),
          top.output,
        ].map((name) => name || '?');
      if (producer.has(next) && !done.has(next)) enter(next);
    }
  }
  return undefined;
}
