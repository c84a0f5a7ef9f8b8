/** Operators that move codes. */
import { WHOLE_TENSOR, parseFormat, quantize } from '../../formats/index.js';
import { intAttribute, intsAttribute, stringAttribute, type Dim, type Node } from '../../onnx/index.js';
import { refuse, type Lowering, type Reals } from './lowering.js';
import { type CodeValue, type Movement } from './program.js';

function move(node: Node, to: Lowering, movement: Movement, output = 0): void {
  const x = to.operand(node, 0);
  to.push({ kind: 'move', node: node.name, x: x.name, movement, output: to.result(node, output).value.name });
}

/** Reshape, Flatten, Squeeze, Unsqueeze: the shape of the result, with at most one unknown dimension. */
export function lowerReshape(node: Node, to: Lowering): void {
  const dims = to.dimsOf(node.outputs[0] ?? '');
  move(node, to, { op: 'reshape', shape: reshapeTarget(node, dims) });
}

function reshapeTarget(node: Node, dims: readonly Dim[]): number[] {
  const shape = dims.map((d) => (typeof d === 'number' ? d : -1));
  if (shape.filter((d) => d === -1).length > 1) throw refuse(node, 'more than one dimension is unknown');
  return shape;
}

export function lowerTranspose(node: Node, to: Lowering): void {
  const rank = to.operand(node, 0).dims.length;
  const reversed = Array.from({ length: rank }, (_, i) => rank - 1 - i);
  move(node, to, { op: 'transpose', permutation: intsAttribute(node, 'perm', reversed) });
}

export function lowerSlice(node: Node, to: Lowering): void {
  const rank = to.operand(node, 0).dims.length;
  const starts = intsAttribute(node, 'starts') ?? to.numbers(node, 1) ?? [];
  const ends = intsAttribute(node, 'ends') ?? to.numbers(node, 2) ?? [];
  const axes = intsAttribute(node, 'axes') ?? to.numbers(node, 3) ?? starts.map((_, i) => i);
  const steps = to.numbers(node, 4) ?? starts.map(() => 1);
  move(node, to, { op: 'slice', axes: axes.map((a) => (a + rank) % rank), starts, ends, steps });
}

/** Split: one slice a part. */
export function lowerSplit(node: Node, to: Lowering): void {
  const rank = to.operand(node, 0).dims.length;
  const axis = (intAttribute(node, 'axis', 0) + rank) % rank;
  let start = 0;
  node.outputs.forEach((output, i) => {
    const extent = to.dimsOf(output)[axis];
    if (typeof extent !== 'number') throw refuse(node, 'the size of a part is unknown');
    const part = { axes: [axis], starts: [start], ends: [start + extent], steps: [1] };
    start += extent;
    if (to.planOf(node).outputs[i] != null) move(node, to, { op: 'slice', ...part }, i);
  });
}

/** Pad with a constant. */
export function lowerPad(node: Node, to: Lowering): void {
  const mode = stringAttribute(node, 'mode', 'constant');
  if (mode !== 'constant') throw refuse(node, `it pads by mode ${mode}`);
  if ((node.inputs[3] ?? '') !== '') throw refuse(node, 'it pads selected axes');
  const x = to.operand(node, 0);
  const pads = intsAttribute(node, 'pads') ?? to.numbers(node, 1) ?? [];
  const [fill = 0] = to.numbers(node, 2) ?? [];
  const code = parseFormat(x.format).encode(Math.fround(fill / x.scale), x.zeroPoint);
  move(node, to, { op: 'pad', pads, fill: code });
}

export function lowerGather(node: Node, to: Lowering): void {
  const { dims } = to.operand(node, 0);
  const indices = to.numbers(node, 1) ?? [];
  const indexRank = to.dimsOf(node.inputs[1] ?? '').length;
  if (indexRank > 1) throw refuse(node, 'its indices are a matrix');
  const axis = (intAttribute(node, 'axis', 0) + dims.length) % dims.length;
  move(node, to, { op: 'gather', axis, indices, scalar: indexRank === 0 });
}

export function lowerExpand(node: Node, to: Lowering): void {
  move(node, to, { op: 'expand', shape: to.numbers(node, 1) ?? [] });
}

/** Concat; constants are quantized as the result, also those that are only repeated along the batch. */
export function lowerConcat(node: Node, to: Lowering): void {
  const { value } = to.result(node);
  const rank = value.dims.length;
  const inputs = node.inputs.map((name, i) => {
    const constant = to.repeatedConstant(name);
    if (constant !== undefined) return constantPart(node, to, constant, value);
    const x = to.operand(node, i);
    if (x.scale === value.scale && x.zeroPoint === value.zeroPoint && x.format === value.format)
      return x.name;
    throw refuse(node, `'${name}' and its result have different parameters`);
  });
  const axis = (intAttribute(node, 'axis', 0) + rank) % rank;
  to.push({ kind: 'concat', node: node.name, inputs, axis, output: value.name });
}

/** A constant as codes of the result, zero point included. */
function constantPart(node: Node, to: Lowering, reals: Reals, result: CodeValue): string {
  const { format, scale, zeroPoint, dims } = result;
  const parameters = { scale: Float32Array.of(scale), zeroPoint: Int32Array.of(zeroPoint) };
  const { codes } = quantize(parseFormat(format), reals.values, WHOLE_TENSOR, parameters);
  const lead = new Array<number>(dims.length - reals.dims.length).fill(1);
  return to.constant(`${node.name}_part`, [...lead, ...reals.dims], codes);
}
