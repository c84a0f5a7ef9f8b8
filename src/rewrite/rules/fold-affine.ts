/**
 * Replaces `Affine(Layer(x))` with `Layer(x)`, where Layer is Conv, ConvTranspose, Gemm or MatMul with a constant weight
 * and Affine is BatchNormalization, or Add, Sub, Mul, Div by a constant that is one number or one a channel.
 */
import { type Node } from '../../onnx/index.js';
import { AFFINE_OPERATORS, affineMap } from '../affine.js';
import { foldAffine, isFoldableLayer, layerAt, replaceLayer, type FoldedLayer } from '../layer.js';
import { isOperator, outputOf } from '../pattern.js';
import { isRefusal, refuse, rule } from '../rule.js';
import { otherReader } from '../scope.js';

interface Match {
  readonly layer: Node;
  readonly affine: Node;
}

interface Ready {
  readonly affine: Node;
  readonly folded: FoldedLayer;
}

export const foldAffineMaps = rule<Match, Ready>({
  name: 'fold-affine',

  pattern: (node, scope) => {
    if (!isOperator(node, ...AFFINE_OPERATORS)) return undefined;
    const layer = node.inputs
      .map((name) => scope.graph.producer(name))
      .find((n) => isFoldableLayer(n, scope));
    if (layer === undefined) return undefined;
    const operand = node.inputs.find((name) => !layer.outputs.includes(name)) ?? '';
    // Arithmetic is part of the layer when nobody else reads the layer; a normalization always should have been.
    const isPart =
      scope.constant(operand) !== undefined && otherReader(outputOf(layer), node, scope) === undefined;
    if (node.opType !== 'BatchNormalization' && !isPart) return undefined;
    // MatMul has no bias to take an addition.
    if (layer.opType === 'MatMul' && isOperator(node, 'Add', 'Sub')) return undefined;
    return { layer, affine: node };
  },

  check: ({ layer, affine }, scope) => {
    const value = outputOf(layer);
    const other = otherReader(value, affine, scope);
    if (other !== undefined) return refuse(other);
    const facts = layerAt(layer, scope);
    if (isRefusal(facts)) return facts;
    const map = affineMap(affine, affine.inputs.indexOf(value), facts, scope);
    if (isRefusal(map)) return map;
    const folded = foldAffine(facts, map);
    return isRefusal(folded) ? folded : { affine, folded };
  },

  rewrite: ({ affine, folded }, scope) => {
    scope.graph.remove(affine);
    const input = folded.layer.node.inputs[0] ?? '';
    replaceLayer(folded, { input, output: outputOf(affine) }, scope);
  },
});
