/** Integer operators for the nodes of a QDQ graph, one rule an operator: standard ones, and those of com.microsoft. */
import {
  floatAttribute,
  intAttribute,
  node as createNode,
  type GraphEditor,
  type Node,
} from '../../onnx/index.js';
import { dtypeCode, tensor, type DType, type Tensor } from '../../tensor/index.js';
import { isByte, sameParameters, type Quantized, type QuantizedResult } from './operands.js';

/** Domain of onnxruntime's own operators. */
export const MICROSOFT = 'com.microsoft';

/** A node whose operands are all codes. */
export interface Site {
  readonly editor: GraphEditor;
  readonly node: Node;
  readonly opset: number;
  /** By input index; undefined for omitted ones. */
  readonly operands: readonly (Quantized | undefined)[];
  /** Bytes; undefined when the result is read as a float or in another type. */
  readonly result: QuantizedResult | undefined;
}

/** The nodes in place of the node and its QuantizeLinear, or undefined when there is no integer operator. */
export type Rule = (site: Site) => readonly Node[] | undefined;

const triple = ({ codes, scale, zeroPoint }: Quantized): string[] => [codes, scale, zeroPoint];

const parameters = ({ scale, zeroPoint }: Quantized): string[] => [scale, zeroPoint];

/** A node that keeps the name and, unless others are given, the attributes of the one it replaces. */
function inPlaceOf({ node, result }: Site, changes: Pick<Node, 'opType' | 'inputs'> & Partial<Node>): Node {
  return { ...node, outputs: [result?.codes ?? node.outputs[0] ?? ''], ...changes };
}

/**
 * QLinearConv: weights by output channel or one scale, bias int32 at the scale of the accumulator. ConvInteger and a
 * product with the scales when the result stays float.
 */
const conv: Rule = (site) => {
  const [x, w, bias] = site.operands;
  const { result } = site;
  if (x === undefined || w === undefined) return undefined;
  if (!isByte(x) || !isByte(w) || (w.axis ?? 0) !== 0 || x.axis !== undefined) return undefined;
  // Signed inputs have kernels for signed weights only.
  if (x.dtype === 'int8' && w.dtype !== 'int8') return undefined;
  if (bias !== undefined && bias.dtype !== 'int32') return undefined;
  if (result === undefined) return convToFloat(site, x, w, bias);
  const inputs = [...triple(x), ...triple(w), ...parameters(result)];
  return [
    inPlaceOf(site, {
      opType: 'QLinearConv',
      inputs: bias === undefined ? inputs : [...inputs, bias.codes],
    }),
  ];
};

/** Of ConvInteger the runtime has kernels for unsigned inputs, and for one zero point of the weights. */
function convToFloat(
  { editor, node }: Site,
  x: Quantized,
  w: Quantized,
  bias: Quantized | undefined,
): Node[] | undefined {
  const zeroPoints = Array.from(editor.constantTensor(w.zeroPoint)?.data ?? [], Number);
  const scales = Array.from(editor.constantTensor(w.scale)?.data ?? [], Number);
  const inputScale = Number(editor.constantTensor(x.scale)?.data[0]);
  const rank = editor.constant(w.codes)?.dims.length;
  if (x.dtype !== 'uint8' || rank === undefined || new Set(zeroPoints).size !== 1) return undefined;
  const fresh = (part: string): string => editor.uniqueName(`${node.name}_${part}`);
  const byChannel = (dtype: DType, values: readonly number[]): Tensor =>
    tensor(dtype, values.length === 1 ? [] : [values.length, ...Array<number>(rank - 2).fill(1)], values);
  const constant = (part: string, value: Tensor): string =>
    editor.addInitializer(`${node.name}_${part}`, value);
  const sum = fresh('accumulator');
  const zeroPoint = constant('weight_zero_point', tensor(w.dtype, [], zeroPoints.slice(0, 1)));
  const nodes = [
    createNode(
      'ConvInteger',
      [x.codes, w.codes, x.zeroPoint, zeroPoint],
      [sum],
      Object.fromEntries(node.attributes),
      { name: node.name },
    ),
  ];
  let total = sum;
  if (bias !== undefined) {
    const biases = Array.from(editor.constantTensor(bias.codes)?.data ?? [], Number);
    total = fresh('sum');
    const inputs = [sum, constant('bias', byChannel('int32', biases))];
    nodes.push(createNode('Add', inputs, [total], {}, { name: fresh('Add') }));
  }
  const scale = constant(
    'scale',
    byChannel(
      'float32',
      scales.map((s) => s * inputScale),
    ),
  );
  const real = fresh('real');
  return [
    ...nodes,
    createNode('Cast', [total], [real], { to: dtypeCode('float32') }, { name: fresh('Cast') }),
    createNode('Mul', [real, scale], node.outputs, {}, { name: fresh('Mul') }),
  ];
}

/** QLinearMatMul; MatMulInteger and a product with the scales when the result stays float. */
const matMul: Rule = (site) => {
  const [a, b] = site.operands;
  const { result } = site;
  if (a === undefined || b === undefined || !isByte(a) || !isByte(b) || a.axis !== undefined)
    return undefined;
  if (result === undefined) return matMulToFloat(site, a, b);
  const inputs = [...triple(a), ...triple(b), ...parameters(result)];
  return [inPlaceOf(site, { opType: 'QLinearMatMul', inputs })];
};

function matMulToFloat({ editor, node }: Site, a: Quantized, b: Quantized): Node[] {
  const fresh = (part: string): string => editor.uniqueName(`${node.name}_${part}`);
  const [sum, real, scale] = [fresh('accumulator'), fresh('real'), fresh('scale')];
  const integer = [a.codes, b.codes, a.zeroPoint, b.zeroPoint];
  return [
    createNode('MatMulInteger', integer, [sum], {}, { name: node.name }),
    createNode('Cast', [sum], [real], { to: dtypeCode('float32') }, { name: fresh('Cast') }),
    createNode('Mul', [a.scale, b.scale], [scale], {}, { name: fresh('Mul_scales') }),
    createNode('Mul', [real, scale], node.outputs, {}, { name: fresh('Mul') }),
  ];
}

/** com.microsoft.QGemm; without parameters of the result it writes floats. */
const gemm: Rule = (site) => {
  const [a, b, c] = site.operands;
  const { result, node } = site;
  if (a === undefined || b === undefined || !isByte(a) || !isByte(b)) return undefined;
  if (floatAttribute(node, 'beta', 1) !== 1 || (c !== undefined && c.dtype !== 'int32')) return undefined;
  const attributes = new Map([...node.attributes].filter(([name]) => name !== 'beta'));
  const inputs = [
    ...triple(a),
    ...triple(b),
    c?.codes ?? '',
    ...(result === undefined ? [] : parameters(result)),
  ];
  return [inPlaceOf(site, { opType: 'QGemm', domain: MICROSOFT, inputs, attributes })];
};

/** Element-wise operators with two operands of one type. */
const binary =
  (opType: string): Rule =>
  (site) => {
    const [a, b] = site.operands;
    const { result } = site;
    if (a === undefined || b === undefined || result === undefined) return undefined;
    if (a.dtype !== result.dtype || b.dtype !== result.dtype) return undefined;
    const inputs = [...triple(a), ...triple(b), ...parameters(result)];
    return [inPlaceOf(site, { opType, domain: MICROSOFT, inputs, attributes: new Map() })];
  };

/** Operators with one operand; `extra` attributes are added to the node's own. */
const unary =
  (opType: string, extra: (site: Site) => Node['attributes'] = () => new Map()): Rule =>
  (site) => {
    const [x] = site.operands;
    const { result, node } = site;
    if (x === undefined || result === undefined || x.dtype !== result.dtype) return undefined;
    const attributes = new Map([...node.attributes, ...extra(site)]);
    const inputs = [...triple(x), ...parameters(result)];
    return [inPlaceOf(site, { opType, domain: MICROSOFT, inputs, attributes })];
  };

const concat: Rule = (site) => {
  const { result, operands } = site;
  if (result === undefined) return undefined;
  const known = operands.filter((x) => x !== undefined);
  if (known.length < operands.length || known.some((x) => x.dtype !== result.dtype)) return undefined;
  const inputs = [...parameters(result), ...known.flatMap(triple)];
  return [inPlaceOf(site, { opType: 'QLinearConcat', domain: MICROSOFT, inputs })];
};

/** Movement on codes: input and result have the same parameters. */
const move: Rule = (site) => {
  const [x] = site.operands;
  const { result, node, editor } = site;
  if (x === undefined || result === undefined || !isByte(x)) return undefined;
  if (!sameParameters(editor, x, result)) return undefined;
  const padsWithOther = node.opType === 'Pad' && (node.inputs[2] ?? '') !== '';
  if (padsWithOther) return undefined;
  const inputs = node.inputs.map((name, i) => (i === 0 ? x.codes : name));
  if (node.opType === 'Pad') inputs[2] = x.zeroPoint;
  return [inPlaceOf(site, { opType: node.opType, inputs })];
};

const int = (name: string, value: number): Node['attributes'] =>
  new Map([[name, { kind: 'int', value: BigInt(value) }]]);

/** What becomes of each operator. */
export const RULES: Readonly<Record<string, Rule>> = {
  Conv: conv,
  MatMul: matMul,
  Gemm: gemm,
  Add: binary('QLinearAdd'),
  Mul: binary('QLinearMul'),
  AveragePool: unary('QLinearAveragePool'),
  GlobalAveragePool: unary('QLinearGlobalAveragePool', () => int('channels_last', 0)),
  LeakyRelu: unary('QLinearLeakyRelu'),
  Sigmoid: unary('QLinearSigmoid'),
  Softmax: unary(
    'QLinearSoftmax',
    ({ node, opset }) => new Map([...int('axis', intAttribute(node, 'axis', -1)), ...int('opset', opset)]),
  ),
  Concat: concat,
  DepthToSpace: move,
  Expand: move,
  Flatten: move,
  Gather: move,
  MaxPool: move,
  Pad: move,
  Reshape: move,
  Slice: move,
  SpaceToDepth: move,
  Squeeze: move,
  Tile: move,
  Transpose: move,
  Unsqueeze: move,
};

/** Operators of which only the first input is a real tensor; the others are shapes, axes, indices. */
export const MOVES = new Set(
  Object.entries(RULES)
    .filter(([, rule]) => rule === move)
    .map(([name]) => name),
);
