/** Which nodes a rule means: by name, regular expression, operator type, or the stretch between two values. */
import { FxqError, didYouMean } from '../core/index.js';
import { everyNode, namesRead, type Graph, type Node } from '../onnx/index.js';
import { type NodeMatch, type NodeRule, type TensorRule } from './settings.js';

/** For every node, the rules that apply to it, in order. */
export type RulesOf = ReadonlyMap<Node, readonly NodeRule[]>;

/**
 * Finds the nodes of every rule.
 *
 * @throws FxqError E_CONFIG for a rule that matches nothing, with the nearest node names
 */
export function matchRules(graph: Graph, rules: readonly NodeRule[]): RulesOf {
  const found = new Map<Node, NodeRule[]>();
  for (const rule of rules) {
    const nodes = everyNode(graph).filter(matcher(graph, rule.match));
    if (nodes.length === 0) throw matchesNothing(graph, rule.match);
    for (const node of nodes) found.set(node, [...(found.get(node) ?? []), rule]);
  }
  return found;
}

/**
 * Refuses rules for values that the graph does not have.
 *
 * @throws FxqError E_CONFIG with the nearest names, or where else a rule of a weight belongs
 */
export function checkTensorRules(graph: Graph, rules: readonly TensorRule[]): void {
  const values = new Set([...graph.inputs.map((v) => v.name), ...everyNode(graph).flatMap((n) => n.outputs)]);
  for (const { tensor } of rules) {
    if (values.has(tensor)) continue;
    if (graph.initializers.has(tensor)) {
      throw new FxqError(
        'E_CONFIG',
        `quantize.tensors is about activations, and '${tensor}' is a constant`,
        'Name the node that reads it in quantize.layers.',
      );
    }
    const near = didYouMean(tensor, values);
    throw new FxqError(
      'E_CONFIG',
      `the model has no value '${tensor}', which a rule of quantize.tensors names`,
      [
        ...(near === '' ? [] : [near]),
        'Names are those of the prepared graph: outputs of nodes, and inputs of the model.',
      ],
    );
  }
}

function matcher(graph: Graph, match: NodeMatch): (node: Node) => boolean {
  const tests: ((node: Node) => boolean)[] = [];
  if (match.node !== undefined) {
    const pattern = regularExpression(match.node);
    tests.push(pattern === undefined ? (n) => n.name === match.node : (n) => pattern.test(n.name));
  }
  if (match.opType !== undefined) tests.push((n) => n.opType === match.opType);
  if (match.between !== undefined) {
    const stretch = nodesBetween(graph, match.between.from, match.between.to);
    tests.push((n) => stretch.has(n));
  }
  return (node) => tests.length > 0 && tests.every((test) => test(node));
}

/** The expression of `/…/` or `/…/i`; undefined for a plain name. */
export function regularExpression(text: string): RegExp | undefined {
  const parts = /^\/(.+)\/(i?)$/.exec(text);
  if (parts === null) return undefined;
  try {
    return new RegExp(parts[1] ?? '', parts[2]);
  } catch (error) {
    throw new FxqError(
      'E_CONFIG',
      `'${text}' is not a regular expression: ${(error as Error).message}`,
      'Correct the expression.',
    );
  }
}

/** Nodes that lie on some path from `from` to `to`, given as value or node names. */
function nodesBetween(graph: Graph, from: string, to: string): Set<Node> {
  const isAt = (node: Node, name: string): boolean => node.name === name || node.outputs.includes(name);
  const forward = new Set<Node>();
  const reached = new Set<string>(graph.inputs.some((v) => v.name === from) ? [from] : []);
  for (const node of graph.nodes) {
    if (isAt(node, from) || [...namesRead(node)].some((name) => reached.has(name))) {
      forward.add(node);
      for (const output of node.outputs) reached.add(output);
    }
  }
  const between = new Set<Node>();
  const needed = new Set<string>();
  for (const node of [...graph.nodes].reverse()) {
    if (isAt(node, to) || node.outputs.some((name) => needed.has(name))) {
      for (const name of namesRead(node)) needed.add(name);
      if (forward.has(node)) between.add(node);
    }
  }
  return between;
}

function matchesNothing(graph: Graph, match: NodeMatch): FxqError {
  const nodes = everyNode(graph);
  const names = nodes.map((n) => n.name);
  const hints: string[] = [];
  if (match.node !== undefined) hints.push(didYouMean(match.node, names));
  if (match.opType !== undefined) hints.push(didYouMean(match.opType, new Set(nodes.map((n) => n.opType))));
  if (match.between !== undefined) {
    const values = new Set(nodes.flatMap((n) => [n.name, ...n.outputs]));
    hints.push(didYouMean(match.between.from, values), didYouMean(match.between.to, values));
  }
  const wanted = (Object.entries(match) as [string, string | NonNullable<NodeMatch['between']>][])
    .map(([key, value]) => `${key} '${typeof value === 'string' ? value : `${value.from}..${value.to}`}'`)
    .join(', ');
  return new FxqError('E_CONFIG', `no node of the model matches ${wanted}`, [
    ...hints.filter((hint) => hint !== ''),
    'Names are those of the prepared graph; `fxq quantize --dry-run` lists them.',
  ]);
}
