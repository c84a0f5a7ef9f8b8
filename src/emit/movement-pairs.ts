/** Pairs around operators that move values, which keep onnxruntime from making them itself. */
import {
  GraphEditor,
  node as createNode,
  opsetOf,
  withGraph,
  type Model,
  type Node,
  type StoredTensor,
} from '../onnx/index.js';

/** Operators past which onnxruntime carries Quantize and Dequantize. */
const CARRIES = new Set(['MaxPool', 'Reshape', 'Slice', 'Squeeze', 'Transpose', 'Unsqueeze']);

/** From here on QuantizeLinear has the attribute `output_dtype`. */
const OUTPUT_TYPE_OPSET = 21;

/**
 * Writes Quantize and Dequantize behind operators that move signed bytes on, and in front of those whose result becomes
 * signed bytes. Moving commutes with quantizing: values stay the same.
 *
 * onnxruntime makes these pairs itself. At opset 21 and later its pairs name the type int8, and where it then turns
 * signed bytes into unsigned ones (x86) it refuses its own graph, so the model could not be loaded (1.30: "output_dtype
 * INT8 does not match y_zero_point type UINT8"). Pairs that are there already it leaves alone.
 */
export function pairsAroundMovement(model: Model): Model {
  if (opsetOf(model) < OUTPUT_TYPE_OPSET) return model;
  const editor = new GraphEditor(model.graph);
  const moved = model.graph.nodes.flatMap((n) => (moves(n) ? n.outputs.slice(0, 1) : []));
  for (const value of moved) pairBehind(editor, value);
  for (const value of moved.reverse()) pairBefore(editor, value);
  return editor.changed ? withGraph(model, editor.finish()) : model;
}

function moves(node: Node): boolean {
  return node.domain === '' && CARRIES.has(node.opType);
}

/** Behind the operator that writes a value, where its operand is dequantized and somebody reads it as it is. */
function pairBehind(editor: GraphEditor, value: string): void {
  const node = editor.producer(value);
  const source = node === undefined ? undefined : editor.producer(node.inputs[0] ?? '');
  if (node === undefined || source === undefined) return;
  const parameters = signedByte(editor, source, 'DequantizeLinear');
  if (parameters === undefined) return;
  const isOutput = editor.isGraphOutput(value);
  if (!isOutput && editor.consumers(value).every(isQuantize)) return;
  const raw = isOutput ? editor.uniqueName(`${value}_moved`) : value;
  const result = isOutput ? value : editor.uniqueName(`${value}_moved`);
  if (isOutput) editor.replace(node, { ...node, outputs: [raw, ...node.outputs.slice(1)] });
  else editor.redirect(raw, result);
  addPair(editor, raw, parameters, result);
}

/** In front of the operator that writes a value, where only a Quantize reads it. */
function pairBefore(editor: GraphEditor, value: string): void {
  const node = editor.producer(value);
  const reader = editor.soleConsumer(value);
  if (node === undefined || reader === undefined) return;
  const parameters = signedByte(editor, reader, 'QuantizeLinear');
  const operand = node.inputs[0] ?? '';
  if (parameters === undefined || editor.producer(operand)?.opType === 'DequantizeLinear') return;
  const result = editor.uniqueName(`${operand}_to_move`);
  editor.setInput(node, 0, result);
  addPair(editor, operand, parameters, result);
}

function isQuantize(node: Node): boolean {
  return node.opType === 'QuantizeLinear';
}

/** Scale and zero point of a Quantize or Dequantize of signed bytes with one scale. */
function signedByte(editor: GraphEditor, node: Node, opType: string): readonly string[] | undefined {
  if (node.opType !== opType || node.domain !== '') return undefined;
  const [, scale = '', zeroPoint = ''] = node.inputs;
  const isOne = (stored: StoredTensor | undefined): boolean => stored?.dims.every((d) => d === 1) === true;
  if (!isOne(editor.constant(scale)) || editor.constant(zeroPoint)?.dtype !== 'int8') return undefined;
  return [scale, zeroPoint];
}

function addPair(editor: GraphEditor, from: string, parameters: readonly string[], to: string): void {
  const codes = editor.emit('QuantizeLinear', [from, ...parameters], {}, `${from}_codes`);
  const name = editor.uniqueName(`${to}_DequantizeLinear`);
  editor.add(createNode('DequantizeLinear', [codes, ...parameters], [to], {}, { name }));
}
