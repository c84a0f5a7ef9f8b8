/** Dynamic quantization: weights ahead of time, activations at run time, in the integer operators of ONNX. */
import { FxqError, required } from '../core/index.js';
import { intAttribute, node as createNode, type AttributeInput, type Node } from '../onnx/index.js';
import { type SolvedWeight } from '../plan/index.js';
import { createArray, dtypeCode, sizeOf, tensor, type DType, type Tensor } from '../tensor/index.js';
import { type Fragment, type FreshName } from './fragment.js';

/** A solved weight with what is needed to store it. */
export interface DynamicWeight {
  readonly name: string;
  readonly solved: SolvedWeight;
  readonly dtype: DType;
  readonly dims: readonly number[];
}

export interface DynamicEmitter {
  /** Replaces one weighted node; the quantization of an input is shared by all nodes that read it. */
  emit(node: Node, weights: readonly DynamicWeight[]): Fragment;
}

interface Collector {
  readonly nodes: Node[];
  readonly initializers: [string, Tensor][];
  readonly fresh: FreshName;
  /** Adds a node with fresh outputs named after `base`; returns them. */
  call(
    opType: string,
    inputs: readonly string[],
    base: string,
    attributes?: Record<string, AttributeInput>,
    count?: number,
  ): string[];
  constant(base: string, value: Tensor): string;
}

interface DynamicInput {
  readonly code: string;
  readonly scale: string;
  readonly zeroPoint: string;
}

export function createDynamicEmitter(fresh: FreshName): DynamicEmitter {
  const quantized = new Map<string, DynamicInput>();
  return {
    emit(node, weights) {
      const out = collector(fresh);
      if (node.opType === 'LSTM') emitLstm(out, node, weights);
      else emitContraction(out, node, required(weights[0], 'weight'), quantized);
      return out;
    },
  };
}

function collector(fresh: FreshName): Collector {
  const nodes: Node[] = [];
  const initializers: [string, Tensor][] = [];
  return {
    nodes,
    initializers,
    fresh,
    call(opType, inputs, base, attributes = {}, count = 1) {
      const outputs = Array.from({ length: count }, () => fresh(base));
      nodes.push(createNode(opType, inputs, outputs, attributes, { name: fresh(`${base}_${opType}`) }));
      return outputs;
    },
    constant(base, value) {
      const name = fresh(base);
      initializers.push([name, value]);
      return name;
    },
  };
}

function dynamicInput(out: Collector, value: string, known: Map<string, DynamicInput>): DynamicInput {
  const found = known.get(value);
  if (found !== undefined) return found;
  const [code, scale, zeroPoint] = out.call('DynamicQuantizeLinear', [value], `${value}_dynamic`, {}, 3);
  const input = {
    code: required(code, 'code'),
    scale: required(scale, 'scale'),
    zeroPoint: required(zeroPoint, 'zero point'),
  };
  known.set(value, input);
  return input;
}

/** Conv, MatMul, Gemm: integer contraction, then `float(acc) · s_x · s_w + bias`. */
function emitContraction(
  out: Collector,
  node: Node,
  weight: DynamicWeight,
  known: Map<string, DynamicInput>,
): void {
  const isConv = node.opType === 'Conv';
  const x = dynamicInput(out, node.inputs[0] ?? '', known);
  const transposed = node.opType === 'Gemm' && intAttribute(node, 'transB', 0) === 1;
  const codes = storedCodes(weight, transposed ? [1, 0] : undefined);
  const w = out.constant(`${weight.name}_quantized`, codes);
  const channels = weight.solved.scale.length;
  const zeroPoint = out.constant(
    `${weight.name}_zero_point`,
    tensor(
      weight.dtype,
      channels > 1 && !isConv ? [channels] : [],
      zeroPoints(weight, channels > 1 && !isConv),
    ),
  );
  const operator = isConv ? 'ConvInteger' : 'MatMulInteger';
  const attributes = isConv ? Object.fromEntries(node.attributes) : {};
  const accumulator = createNode(
    operator,
    [x.code, w, x.zeroPoint, zeroPoint],
    [out.fresh(`${node.name}_accumulator`)],
    attributes,
    {
      name: node.name,
    },
  );
  out.nodes.push(accumulator);
  const spread = (length: number): number[] =>
    isConv ? [length, ...weight.dims.slice(2).map(() => 1)] : [length];
  const weightScale = out.constant(
    `${weight.name}_scale`,
    tensor('float32', channels > 1 ? spread(channels) : [], weight.solved.scale),
  );
  const [scale] = out.call('Mul', [x.scale, weightScale], `${node.name}_scale`);
  const [real] = out.call('Cast', [accumulator.outputs[0] ?? ''], `${node.name}_real`, {
    to: dtypeCode('float32'),
  });
  const bias = node.inputs[2] ?? '';
  const result = node.outputs[0] ?? '';
  const product = bias === '' ? result : out.fresh(`${node.name}_product`);
  out.nodes.push(
    createNode(
      'Mul',
      [required(real, 'value'), required(scale, 'value')],
      [product],
      {},
      { name: out.fresh(`${node.name}_Mul`) },
    ),
  );
  if (bias === '') return;
  const shaped = isConv
    ? out.call(
        'Unsqueeze',
        [
          bias,
          out.constant(
            `${node.name}_axes`,
            tensor(
              'int64',
              [weight.dims.length - 2],
              weight.dims.slice(2).map((_, i) => i + 1),
            ),
          ),
        ],
        `${node.name}_bias`,
      )[0]
    : bias;
  out.nodes.push(
    createNode(
      'Add',
      [product, required(shaped, 'bias')],
      [result],
      {},
      { name: out.fresh(`${node.name}_Add`) },
    ),
  );
}

/**
 * com.microsoft.DynamicQuantizeLSTM: W and R as [directions, depth, 4·hidden] codes with one scale a direction and
 * gate row; the runtime quantizes X and the hidden state.
 */
function emitLstm(out: Collector, node: Node, weights: readonly DynamicWeight[]): void {
  const [w, r] = weights;
  if (w === undefined || r === undefined) {
    throw new FxqError(
      'E_UNSUPPORTED',
      `LSTM '${node.name}' has only one constant weight`,
      'Keep it float with --exclude.',
    );
  }
  const operands = [w, r].map((weight) => {
    const [directions = 1, rows = 1] = weight.dims;
    const each = weight.solved.scale.length > 1;
    const shape = each ? [directions, rows] : [directions];
    const repeat = (values: ArrayLike<number>): number[] =>
      Array.from({ length: sizeOf(shape) }, (_, i) => values[i % values.length] ?? 0);
    return {
      codes: out.constant(`${weight.name}_quantized`, storedCodes(weight, [0, 2, 1])),
      scale: out.constant(`${weight.name}_scale`, tensor('float32', shape, repeat(weight.solved.scale))),
      zeroPoint: out.constant(
        `${weight.name}_zero_point`,
        tensor(weight.dtype, shape, repeat(weight.solved.zeroPoint)),
      ),
    };
  });
  const [cw, cr] = operands as [(typeof operands)[0], (typeof operands)[0]];
  const optional = Array.from({ length: 5 }, (_, i) => node.inputs[i + 3] ?? '');
  const inputs = [
    node.inputs[0] ?? '',
    cw.codes,
    cr.codes,
    ...optional,
    cw.scale,
    cw.zeroPoint,
    cr.scale,
    cr.zeroPoint,
  ];
  const attributes = Object.fromEntries([...node.attributes].filter(([name]) => name !== 'layout'));
  out.nodes.push(
    createNode('DynamicQuantizeLSTM', inputs, node.outputs, attributes, {
      name: node.name,
      domain: 'com.microsoft',
    }),
  );
}

function zeroPoints(weight: DynamicWeight, each: boolean): number[] {
  const all = Array.from(weight.solved.zeroPoint);
  return each ? all : all.slice(0, 1);
}

/** Codes in storage type, axes permuted. */
function storedCodes(weight: DynamicWeight, permutation?: readonly number[]): Tensor {
  const { codes } = weight.solved;
  const data = createArray(weight.dtype, codes.length) as Int8Array;
  if (permutation === undefined) {
    data.set(codes);
    return { dtype: weight.dtype, dims: weight.dims, data };
  }
  const dims = permutation.map((axis) => weight.dims[axis] ?? 1);
  const strides = permutation.map((axis) => sizeOf(weight.dims.slice(axis + 1)));
  const index = dims.map(() => 0);
  for (let i = 0; i < data.length; i++) {
    data[i] = codes[index.reduce((at, k, axis) => at + k * (strides[axis] ?? 0), 0)] ?? 0;
    for (let axis = dims.length - 1; axis >= 0; axis--) {
      index[axis] = (index[axis] ?? 0) + 1;
      if ((index[axis] ?? 0) < (dims[axis] ?? 1)) break;
      index[axis] = 0;
    }
  }
  return { dtype: weight.dtype, dims, data };
}
