/** The integer emitter: every operator it can write without floating point has quantized operands and results. */
import { type OperatorSupport, type Target } from '../target.js';

const arithmetic = [
  'Abs',
  'Add',
  'AveragePool',
  'Celu',
  'Concat',
  'Conv',
  'Div',
  'Elu',
  'Erf',
  'Exp',
  'Gelu',
  'Gemm',
  'GlobalAveragePool',
  'HardSigmoid',
  'HardSwish',
  'LayerNormalization',
  'LeakyRelu',
  'Log',
  'MatMul',
  'Mish',
  'Mul',
  'Neg',
  'Pow',
  'Reciprocal',
  'ReduceMean',
  'Selu',
  'Sigmoid',
  'Softmax',
  'Softplus',
  'Softsign',
  'Sqrt',
  'Sub',
  'Tanh',
  'ThresholdedRelu',
  'com.microsoft.Gelu',
  'com.microsoft.QuickGelu',
];
/** Folded into the operator before them where that has one reader; limits on codes otherwise. */
const limits = ['Clip', 'Relu'];
const movement = [
  'Expand',
  'Flatten',
  'MaxPool',
  'Pad',
  'Reshape',
  'Slice',
  'Split',
  'Squeeze',
  'Transpose',
  'Unsqueeze',
];

const rows = (names: readonly string[], support: OperatorSupport): Record<string, OperatorSupport> =>
  Object.fromEntries(names.map((name) => [name, support]));

export const INTEGER: Target = {
  name: 'integer',
  description:
    'integer arithmetic only, between the quantization of the inputs and the dequantization of the outputs',
  operators: {
    ...rows(arithmetic, { role: 'anchor', output: 'required' }),
    ...rows(limits, { role: 'follow' }),
    ...rows(movement, { role: 'move' }),
  },
  activations: ['uint8', 'int8', 'uint16', 'int16'],
  weights: ['int8', 'uint8', 'int4', 'uint4'],
  fusesIntoSymmetric: true,
  saturatesWithoutVnni: false,
};
