/**
 * Replaces `Add(MatMul(x, W), b)` with `Gemm(x, W, b)` where x and W are matrices. Left as they are, onnxruntime makes a
 * Gemm with a float bias of them, which has no integer kernel unless its output is quantized; higher ranks keep MatMul,
 * which becomes MatMulIntegerToFloat with the addition behind it.
 */
import { node as createNode, type Node } from '../../onnx/index.js';
import { isRefusal, refuse, rule } from '../rule.js';
import { channelVector } from '../constants.js';
import { isOperator, otherOperand, outputOf, producedBy } from '../pattern.js';
import { notConstant, otherReader } from '../scope.js';

interface Match {
  readonly product: Node;
  readonly sum: Node;
  readonly bias: string;
}

export const matMulAddToGemm = rule<Match, Match>({
  name: 'matmul-add-to-gemm',

  pattern: (sum, scope) => {
    if (!isOperator(sum, 'Add')) return undefined;
    for (const value of sum.inputs) {
      const product = producedBy(value, scope, 'MatMul');
      const bias = otherOperand(sum, value);
      const ranks = product?.inputs.map((name) => scope.type(name)?.dims?.length);
      const isMatrices = ranks?.every((rank) => rank === 2) ?? false;
      if (product !== undefined && bias !== undefined && isMatrices && scope.constant(bias) !== undefined)
        return { product, sum, bias };
    }
    return undefined;
  },

  check: (match, scope) => {
    const { product, sum, bias } = match;
    const weight = scope.constantTensor(product.inputs[1] ?? '');
    const constant = scope.constantTensor(bias);
    if (weight === undefined)
      return refuse(notConstant(product.inputs[1] ?? '', scope) ?? 'its weight is not constant');
    if (constant === undefined) return refuse(notConstant(bias, scope) ?? 'its bias is not constant');
    const channels = weight.dims[1] ?? 0;
    const vector = channelVector(constant, { channels, fromEnd: 1, rank: 2 }, bias);
    if (isRefusal(vector)) return vector;
    if (constant.data.length !== channels) return refuse(`'${bias}' is one number for all channels`);
    const other = otherReader(outputOf(product), sum, scope);
    return other === undefined ? match : refuse(other);
  },

  rewrite: ({ product, sum, bias }, { graph }) => {
    graph.remove(product);
    graph.replace(
      sum,
      createNode('Gemm', [...product.inputs, bias], sum.outputs, {}, { name: product.name }),
    );
  },
});
