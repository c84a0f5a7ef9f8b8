/** Any executor of QDQ graphs: every operator that common tools quantize gets quantized operands and results. */
import { type OperatorSupport, type Target } from '../target.js';

const anchors = ['Conv', 'ConvTranspose', 'Gemm', 'MatMul'];
const arithmetic = [
  'Add',
  'AveragePool',
  'Concat',
  'Div',
  'Elu',
  'Erf',
  'Gelu',
  'GlobalAveragePool',
  'HardSigmoid',
  'HardSwish',
  'InstanceNormalization',
  'LayerNormalization',
  'LeakyRelu',
  'Mul',
  'PRelu',
  'ReduceMean',
  'Resize',
  'Sigmoid',
  'Softmax',
  'Sub',
  'Tanh',
  'Where',
];
const movement = [
  'DepthToSpace',
  'Expand',
  'Flatten',
  'GlobalMaxPool',
  'MaxPool',
  'Pad',
  'ReduceMax',
  'ReduceMin',
  'Reshape',
  'Slice',
  'SpaceToDepth',
  'Split',
  'Squeeze',
  'Tile',
  'Transpose',
  'Unsqueeze',
];

const rows = (names: readonly string[], support: OperatorSupport): Record<string, OperatorSupport> =>
  Object.fromEntries(names.map((name) => [name, support]));

export const GENERIC: Target = {
  name: 'generic',
  description:
    'QDQ for any executor: every operator that common tools quantize, whether or not onnxruntime fuses it',
  operators: {
    ...rows(anchors, { role: 'anchor', output: 'required' }),
    ...rows(arithmetic, { role: 'anchor', output: 'required' }),
    ...rows(movement, { role: 'move' }),
    Gather: { role: 'weights' },
    GRU: { role: 'weights' },
    RNN: { role: 'weights' },
    LSTM: { role: 'weights' },
  },
  activations: ['uint8', 'int8', 'uint16', 'int16'],
  weights: ['int8', 'uint8', 'int4', 'uint4'],
  fusesIntoSymmetric: true,
  saturatesWithoutVnni: false,
};
