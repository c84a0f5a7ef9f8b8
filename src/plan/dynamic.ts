/** Which nodes can be written with run-time quantized activations. */
import { parseFormat } from '../formats/index.js';
import { floatAttribute, intAttribute, stringAttribute, type Node } from '../onnx/index.js';

/**
 * Why a node cannot be quantized dynamically, or undefined when it can.
 *
 * @param format of its weights
 */
export function refusesDynamic(
  node: Node,
  weightInputs: readonly number[],
  format: string,
): string | undefined {
  const { dtype, integer } = parseFormat(format);
  if (!integer || !/^u?int8$/.test(dtype))
    return `operators that quantize activations at run time take weights in bytes, not ${format}`;
  switch (node.opType) {
    case 'Conv':
      return undefined;
    case 'MatMul':
      return weightInputs.includes(1)
        ? undefined
        : 'its weight is the left operand, which MatMulInteger takes as activation';
    case 'Gemm': {
      const plain = intAttribute(node, 'transA', 0) === 0 && floatAttribute(node, 'alpha', 1) === 1;
      const bias = floatAttribute(node, 'beta', 1) === 1 || (node.inputs[2] ?? '') === '';
      return plain && bias ? undefined : 'MatMulInteger has no transA, alpha or beta';
    }
    case 'LSTM':
      if (weightInputs.length < 2) return 'only one of W and R is constant';
      if (intAttribute(node, 'layout', 0) !== 0) return 'DynamicQuantizeLSTM has no batch-first layout';
      return stringAttribute(node, 'direction', 'forward') === 'reverse'
        ? 'DynamicQuantizeLSTM has no reverse direction'
        : undefined;
    default:
      return `there is no integer operator for ${node.opType} with run-time parameters`;
  }
}
