/** From QDQ to integer operators: every node between Dequantize and Quantize becomes the operator that runs on codes. */
import { FxqError } from '../../core/index.js';
import { GraphEditor, opsetOf, withGraph, type Model, type Node } from '../../onnx/index.js';
import { isByte, quantizedOperand, quantizedResult } from './operands.js';
import { MICROSOFT, MOVES, RULES } from './rules.js';

/** Before this opset Softmax runs over several axes, and pooling lacks the attributes the rules pass on. */
const LEAST_OPSET = 13;

/**
 * The model in QLinearConv, QLinearMatMul, MatMulInteger and onnxruntime's own integer operators. Nodes that have none,
 * whose operands are not all codes, or whose codes have other types than 8 bits stay as they are, between Dequantize and
 * Quantize.
 *
 * @param model a QDQ model, as `emitQdq` writes it
 * @throws FxqError E_OPSET below opset 13
 */
export function emitQOperator(model: Model): Model {
  const opset = opsetOf(model);
  if (opset < LEAST_OPSET) {
    throw new FxqError(
      'E_OPSET',
      `integer operators are written for opset ${LEAST_OPSET} and later, the model has ${opset}`,
      `Raise the model's opset first.`,
    );
  }
  const editor = new GraphEditor(model.graph);
  for (const node of model.graph.nodes) if (editor.has(node)) rewrite(editor, node, opset);
  const graph = editor.finish({ prune: true });
  const usesMicrosoft = graph.nodes.some((n) => n.domain === MICROSOFT);
  const opsets = usesMicrosoft ? new Map([...model.opsets, [MICROSOFT, 1]] as const) : model.opsets;
  return withGraph({ ...model, opsets }, graph);
}

function rewrite(editor: GraphEditor, node: Node, opset: number): void {
  const rule = node.domain === '' ? RULES[node.opType] : undefined;
  if (rule === undefined) return;
  const real = MOVES.has(node.opType) ? node.inputs.slice(0, 1) : node.inputs;
  const operands = real.map((value) => (value === '' ? undefined : quantizedOperand(editor, value)));
  if (operands.some((operand, i) => operand === undefined && real[i] !== '')) return;
  const quantized = quantizedResult(editor, node);
  const result = quantized !== undefined && isByte(quantized) ? quantized : undefined;
  const written = rule({ editor, node, opset, operands, result });
  if (written === undefined) return;
  const [first, ...others] = written;
  for (const replaced of result?.replaced ?? []) editor.remove(replaced);
  if (first !== undefined) editor.replace(node, first);
  for (const other of others) editor.add(other);
}
