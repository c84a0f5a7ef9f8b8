/** What must hold of a model before fxq works on it; every breach names file and node. */
import { FxqError, didYouMean } from '../core/index.js';
import {
  describeNode,
  givenNames,
  namesRead,
  opsetOf,
  subgraphsOf,
  type Graph,
  type Model,
} from './model.js';

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
  const given = givenNames(graph);
  const produced = producers(graph, given, file);
  const defined = new Set([...outer, ...given]);
  for (const node of graph.nodes) {
    for (const input of namesRead(node)) {
      if (defined.has(input)) continue;
      throw produced.has(input)
        ? disorder(graph, file, describeNode(node), input)
        : missing(`${file}: ${describeNode(node)} reads '${input}', which nothing produces`, input, [
            ...defined,
            ...produced.keys(),
          ]);
    }
    for (const { graph: subgraph } of subgraphsOf(node)) checkGraph(subgraph, file, defined);
    for (const output of node.outputs) defined.add(output);
  }
  for (const { name } of graph.outputs)
    if (!defined.has(name))
      throw missing(`${file}: nothing produces the graph output '${name}'`, name, defined);
}

/** Who writes each value: every value is written once, and none that is there from the start. */
function producers(graph: Graph, given: ReadonlySet<string>, file: string): ReadonlyMap<string, string> {
  const produced = new Map<string, string>();
  for (const node of graph.nodes) {
    if (node.opType === '')
      throw new FxqError('E_MODEL', `${file}: ${describeNode(node)} has no operator type`, EXPORT_AGAIN);
    for (const output of node.outputs) {
      if (output === '') continue;
      const other = given.has(output) ? 'an input or initializer' : produced.get(output);
      if (other !== undefined)
        throw new FxqError(
          'E_GRAPH',
          `${file}: value '${output}' is written twice, by ${other} and ${describeNode(node)}`,
          'Give every value its own name.',
        );
      produced.set(output, describeNode(node));
    }
  }
  return produced;
}

const EXPORT_AGAIN = 'The file is damaged; export it again.';

function missing(message: string, name: string, known: Iterable<string>): FxqError {
  const suggestion = didYouMean(name, known);
  return new FxqError('E_GRAPH', message, suggestion === '' ? EXPORT_AGAIN : [suggestion, EXPORT_AGAIN]);
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
        `${file}: the graph is cyclic: ${formatCycle(cycle)}`,
        'An ONNX graph must be acyclic; use Loop or Scan for recurrence.',
      );
}

/** Values that a cycle runs through, each read by the next; the first one is repeated at the end. */
function findCycle(graph: Graph): string[] | undefined {
  const producer = new Map(graph.nodes.flatMap((n) => n.outputs.map((o) => [o, n] as const)));
  const reads = (value: string): string[] => {
    const node = producer.get(value);
    return node === undefined ? [] : [...namesRead(node)].filter((name) => producer.has(name));
  };
  const done = new Set<string>();
  for (const start of producer.keys()) {
    // Depth-first towards the inputs; `path` is the chain of readers that led to the current value.
    const path: { readonly value: string; readonly pending: string[] }[] = [];
    const position = new Map<string, number>();
    const enter = (value: string): void => {
      position.set(value, path.length);
      path.push({ value, pending: reads(value) });
    };
    if (!done.has(start)) enter(start);
    for (let top = path.at(-1); top !== undefined; top = path.at(-1)) {
      const next = top.pending.pop();
      if (next === undefined) {
        done.add(top.value);
        position.delete(top.value);
        path.pop();
      } else if (position.has(next)) {
        const readers = path.slice(position.get(next)).map(({ value }) => value);
        return [next, ...readers.slice(1).reverse(), next];
      } else if (!done.has(next)) enter(next);
    }
  }
  return undefined;
}

/** The cycle for a message: a long one without its middle. */
function formatCycle(cycle: readonly string[]): string {
  const shown = cycle.length <= 8 ? cycle : [...cycle.slice(0, 4), '…', ...cycle.slice(-3)];
  return shown.join(' → ');
}
