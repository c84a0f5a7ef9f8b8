/** The quantized values around a node of a QDQ graph. */
import { intAttribute, type GraphEditor, type Node } from '../../onnx/index.js';
import { type DType } from '../../tensor/index.js';

/** Codes with their parameters, by value name. */
export interface Quantized {
  readonly codes: string;
  readonly scale: string;
  readonly zeroPoint: string;
  readonly dtype: DType;
  /** Axis of the scales, when there are several. */
  readonly axis: number | undefined;
}

/** What a node writes: the codes that a QuantizeLinear makes of its result, behind an activation the grid contains. */
export interface QuantizedResult extends Quantized {
  /** QuantizeLinear, and the activation in front of it, that the integer operator replaces. */
  readonly replaced: readonly Node[];
}

/** Element types that the integer operators of onnxruntime take. */
export function isByte({ dtype }: Quantized): boolean {
  return dtype === 'int8' || dtype === 'uint8';
}

/** The codes behind a value that a DequantizeLinear writes. */
export function quantizedOperand(editor: GraphEditor, value: string): Quantized | undefined {
  const node = editor.producer(value);
  return node?.opType === 'DequantizeLinear' && node.domain === '' ? parametersOf(editor, node) : undefined;
}

function parametersOf(editor: GraphEditor, node: Node): Quantized | undefined {
  const [, scale = '', zeroPoint = ''] = node.inputs;
  if (node.attributes.has('block_size')) return undefined;
  const scales = editor.constant(scale);
  const zeroPoints = editor.constant(zeroPoint);
  const dtype = zeroPoints?.dtype;
  if (scales === undefined || dtype === undefined || dtype === 'string') return undefined;
  const codes = node.opType === 'DequantizeLinear' ? node.inputs[0] : node.outputs[0];
  const axis = scales.dims.length === 0 ? undefined : intAttribute(node, 'axis', 1);
  return { codes: codes ?? '', scale, zeroPoint, dtype, axis };
}

/** The codes made of a node's first output, when nobody reads the output itself. */
export function quantizedResult(editor: GraphEditor, node: Node): QuantizedResult | undefined {
  const reader = editor.soleConsumer(node.outputs[0] ?? '');
  if (reader === undefined) return undefined;
  if (reader.opType === 'QuantizeLinear') {
    const parameters = parametersOf(editor, reader);
    return parameters === undefined ? undefined : { ...parameters, replaced: [reader] };
  }
  const limits = limitsOf(editor, reader);
  const behind = limits === undefined ? undefined : quantizedResult(editor, reader);
  if (limits === undefined || behind === undefined || !gridContains(editor, behind, limits)) return undefined;
  return { ...behind, replaced: [reader, ...behind.replaced] };
}

interface Limits {
  readonly low: number;
  readonly high: number;
}

function limitsOf(editor: GraphEditor, node: Node): Limits | undefined {
  if (node.opType === 'Relu') return { low: 0, high: Infinity };
  if (node.opType !== 'Clip') return undefined;
  const limit = (index: number, none: number): number | undefined => {
    const name = node.inputs[index] ?? '';
    if (name === '') return none;
    const constant = editor.constantTensor(name);
    return constant === undefined ? undefined : Number(constant.data[0]);
  };
  const [low, high] = [limit(1, -Infinity), limit(2, Infinity)];
  return low === undefined || high === undefined ? undefined : { low, high };
}

/** Whether saturation already limits: every value beyond a limit has the code of the limit. */
function gridContains(editor: GraphEditor, grid: Quantized, { low, high }: Limits): boolean {
  const scale = Number(editor.constantTensor(grid.scale)?.data[0]);
  const zeroPoint = Number(editor.constantTensor(grid.zeroPoint)?.data[0]);
  const [bottom, top] = grid.dtype === 'uint8' ? [0, 255] : [-128, 127];
  const code = (limit: number): number => Math.round(limit / scale) + zeroPoint;
  return isByte(grid) && code(low) <= bottom && code(high) >= top;
}

/** Whether two sets of parameters are the same numbers. */
export function sameParameters(editor: GraphEditor, a: Quantized, b: Quantized): boolean {
  const numbers = (name: string): string => String(editor.constantTensor(name)?.data ?? '');
  return (
    a.dtype === b.dtype &&
    numbers(a.scale) === numbers(b.scale) &&
    numbers(a.zeroPoint) === numbers(b.zeroPoint)
  );
}
