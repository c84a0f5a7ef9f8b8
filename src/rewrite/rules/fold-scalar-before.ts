/**
 * Replaces `Layer(a · x)` and `Layer(x + b)`, a and b being numbers, with `Layer(x)`: `W′ = a W` and
 * `bias′ = bias + b Σ W`. A convolution that pads cannot take b, since it pads with zeros and not with b; of
 * `Layer(a · x + b)` it takes a, and `x + b / a` stays.
 */
import { intsAttribute, node as createNode, stringAttribute, type Node } from '../../onnx/index.js';
import { roundReals } from '../constants.js';
import {
  foldAffine,
  isFoldableLayer,
  layerAt,
  replaceLayer,
  weightSums,
  type FoldedLayer,
} from '../layer.js';
import { outputOf, producedBy, scaledBy, shiftedBy } from '../pattern.js';
import { isRefusal, refuse, rule } from '../rule.js';
import { otherReader, type Scope } from '../scope.js';
import { endsGelu } from './fuse-gelu.js';

interface Match {
  readonly layer: Node;
  /** Nodes between x and the layer, in order. */
  readonly nodes: readonly Node[];
  readonly x: string;
  /** The layer's input is `scale · x + shift`. */
  readonly scale: number;
  readonly shift: number;
}

interface Ready extends Match {
  readonly folded: FoldedLayer;
  /** What stays in front of the layer: x + remainder. */
  readonly remainder: number;
}

export const foldScalarBefore = rule<Match, Ready>({
  name: 'fold-scalar-before',

  pattern: (layer, scope) => {
    if (!isFoldableLayer(layer, scope)) return undefined;
    const node = producedBy(layer.inputs[0], scope, 'Add', 'Sub', 'Mul', 'Div');
    // The ½ of a Gelu that is not fused here must stay for onnxruntime to fuse it.
    if (node === undefined || endsGelu(node, scope)) return undefined;
    const scaled = scaledBy(node, scope);
    if (scaled !== undefined)
      return { layer, nodes: [node], x: scaled.value, scale: scaled.number, shift: 0 };
    const shifted = shiftedBy(node, scope);
    if (shifted === undefined) return undefined;
    if (takesShift(layer)) return { layer, nodes: [node], x: shifted.value, scale: 1, shift: shifted.number };
    const before = producedBy(shifted.value, scope, 'Mul', 'Div');
    const inner = scaledBy(before, scope);
    if (before === undefined || inner === undefined) return undefined;
    return { layer, nodes: [before, node], x: inner.value, scale: inner.number, shift: shifted.number };
  },

  check: (match, scope) => {
    const { layer, nodes, scale, shift } = match;
    for (const [i, node] of nodes.entries()) {
      const other = otherReader(outputOf(node), nodes[i + 1] ?? layer, scope);
      if (other !== undefined) return refuse(other);
    }
    if (scope.type(match.x)?.dims?.length !== scope.type(layer.inputs[0] ?? '')?.dims?.length)
      return refuse('its constant has more axes than the value, or the rank is unknown');
    const facts = layerAt(layer, scope);
    if (isRefusal(facts)) return facts;
    const remainder = takesShift(layer) ? 0 : shift / scale;
    if (!Number.isFinite(remainder)) return refuse(`it is scaled by ${scale}`);
    const sums = weightSums(facts);
    const taken = takesShift(layer) ? shift : 0;
    // foldAffine scales the bias too, which the input's scale does not.
    const bias = sums.map((sum, k) => (facts.bias?.[k] ?? 0) * (1 - scale) + taken * sum);
    const folded = foldAffine(facts, { scale: new Float64Array(facts.channels).fill(scale), shift: bias });
    return isRefusal(folded) ? folded : { ...match, folded, remainder };
  },

  rewrite: ({ layer, nodes, x, folded, remainder }, scope) => {
    const { graph } = scope;
    for (const node of nodes) graph.remove(node);
    const input = remainder === 0 ? x : addition(x, remainder, nodes, folded, scope);
    replaceLayer(folded, { input, output: outputOf(layer) }, scope);
  },
});

/** Whether the shift of the input is the same at every output position, and the layer has a bias to take it. */
function takesShift(layer: Node): boolean {
  if (layer.opType === 'Gemm') return true;
  if (layer.opType !== 'Conv') return false;
  const padding = stringAttribute(layer, 'auto_pad', 'NOTSET');
  if (padding === 'SAME_UPPER' || padding === 'SAME_LOWER') return false;
  return padding === 'VALID' || intsAttribute(layer, 'pads', []).every((p) => p === 0);
}

/** x + c under a new name, in the place of the last of the nodes. */
function addition(
  x: string,
  c: number,
  nodes: readonly Node[],
  { layer }: FoldedLayer,
  { graph }: Scope,
): string {
  const name = nodes.at(-1)?.name ?? layer.node.name;
  const constant = graph.addInitializer(`${name}_shift`, roundReals(layer.weight, [], Float64Array.of(c)));
  const output = graph.uniqueName(`${x}_shifted`);
  graph.add(createNode('Add', [x, constant], [output], {}, { name }));
  return output;
}
