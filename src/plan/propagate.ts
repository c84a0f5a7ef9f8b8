/** Which values are integers: anchors ask for them, operators between integers join, movement passes them on. */
import { dataOutputs, namesRead, operatorFacts, type Graph, type Node } from '../onnx/index.js';
import { isSymmetric } from './symmetry.js';
import { type NodeRole } from './roles.js';

/** A value in one format. */
export function variantOf(value: string, format: string): string {
  return `${value}@${format}`;
}

/** Where an integer result appears: after the activation that limits it, when there is one to fuse. */
export interface ResultPoint {
  /** The value to quantize. */
  readonly value: string;
  /** The fused activation, whose own input stays unquantized. */
  readonly fused: Node | undefined;
}

export interface Flow {
  /** Nodes that compute or move integers. */
  readonly integer: ReadonlySet<NodeRole>;
  /** Quantization point of every integer node's first data output. */
  readonly results: ReadonlyMap<Node, ResultPoint>;
}

/**
 * Decides which nodes run on integers.
 *
 * Anchors always do. A follower or mover does when all its operands are available as integers in its own format (going
 * forward) and its result is wanted as an integer by somebody (going backward): then it costs no conversion and saves
 * one. Both directions are fixed in one pass each, because the node order is topological.
 */
export function integerFlow(graph: Graph, roles: readonly NodeRole[], fusesIntoSymmetric: boolean): Flow {
  const points = resultPoints(graph, roles, fusesIntoSymmetric);
  const pointOf = (role: NodeRole): ResultPoint => points.get(role.node) ?? { value: '', fused: undefined };
  const available = new Set<string>();
  for (const role of roles) if (role.role === 'anchor') addAnchor(available, role, pointOf(role));
  // An anchor's operands are integers wherever they come from, so they are known before the forward pass.
  const candidates = new Set<NodeRole>();
  for (const role of roles) {
    if (role.role !== 'follow' && role.role !== 'move') continue;
    if (!operands(role).every((value) => available.has(variantOf(value, role.formats.activations)))) continue;
    candidates.add(role);
    for (const value of resultValues(role, pointOf(role)))
      available.add(variantOf(value, role.formats.activations));
  }
  const wanted = new Set<string>();
  for (const role of roles) {
    if (role.role === 'anchor')
      for (const value of operands(role)) wanted.add(variantOf(value, role.formats.activations));
  }
  const integer = new Set(roles.filter((role) => role.role === 'anchor'));
  for (const role of [...roles].reverse()) {
    if (!candidates.has(role)) continue;
    const format = role.formats.activations;
    if (!resultValues(role, pointOf(role)).some((value) => wanted.has(variantOf(value, format)))) continue;
    integer.add(role);
    for (const value of operands(role)) wanted.add(variantOf(value, format));
  }
  return { integer, results: points };
}

/** Only anchors compute; what follows or moves integers keeps their format. */
export function resultFormat({ role, formats }: NodeRole): string {
  return role === 'anchor' ? formats.results : formats.activations;
}

function operands(role: NodeRole): string[] {
  return role.activations.map((i) => role.node.inputs[i] ?? '');
}

function resultValues(role: NodeRole, point: ResultPoint): string[] {
  const [, ...others] = dataOutputs(role.node).map((i) => role.node.outputs[i] ?? '');
  return [point.value, ...others];
}

function addAnchor(available: Set<string>, role: NodeRole, point: ResultPoint): void {
  const { activations, results } = role.formats;
  for (const value of operands(role)) available.add(variantOf(value, activations));
  if (role.outputRequired) available.add(variantOf(point.value, results));
}

/**
 * The values behind the nodes' outputs that carry the quantization: the output of a Relu or Clip when that is the only
 * reader, because a grid that starts at its lower limit contains the activation. A symmetric grid does not.
 */
function resultPoints(
  graph: Graph,
  roles: readonly NodeRole[],
  fusesIntoSymmetric: boolean,
): Map<Node, ResultPoint> {
  const readers = new Map<string, Node[]>();
  for (const node of graph.nodes) {
    for (const name of namesRead(node)) readers.set(name, [...(readers.get(name) ?? []), node]);
  }
  const visible = new Set(graph.outputs.map((o) => o.name));
  const excluded = new Set(roles.filter((r) => r.why.startsWith('excluded')).map((r) => r.node));
  return new Map(
    roles.map((role) => {
      const value = role.node.outputs[dataOutputs(role.node)[0] ?? 0] ?? '';
      const [reader, ...others] = readers.get(value) ?? [];
      const fuses =
        role.role !== 'move' &&
        reader !== undefined &&
        others.length === 0 &&
        !visible.has(value) &&
        !excluded.has(reader) &&
        operatorFacts(reader)?.category === 'activation' &&
        (fusesIntoSymmetric || !isSymmetric(resultFormat(role)));
      return [
        role.node,
        fuses ? { value: reader.outputs[0] ?? value, fused: reader } : { value, fused: undefined },
      ];
    }),
  );
}
