/** onnxruntime on CPUs. What fuses was read off optimized graphs of version 1.30; `test/plan/targets.test.ts` does so again. */
import { loadTensor, stringAttribute, type Node } from '../../onnx/index.js';
import { toFloat32 } from '../../tensor/index.js';
import { type Constants, type Target } from '../target.js';

/** Only zeros are sure to be on the grid. */
function padsWithOther(node: Node, constants: Constants): string | undefined {
  const value = node.inputs[2] ?? '';
  if (value === '' || stringAttribute(node, 'mode', 'constant') !== 'constant') return undefined;
  const stored = constants.get(value);
  const isZero = stored !== undefined && toFloat32(loadTensor(stored, value)).every((v) => v === 0);
  return isZero ? undefined : 'it pads with a value other than 0';
}

export const ONNXRUNTIME_CPU: Target = {
  name: 'onnxruntime-cpu',
  description: 'onnxruntime, CPU execution provider: QLinear and integer matrix kernels for 8-bit operands',
  operators: {
    Conv: { role: 'anchor', output: 'required', slowDynamic: true },
    MatMul: { role: 'anchor', output: 'free' },
    Gemm: { role: 'anchor', output: 'free' },
    ConvTranspose: { role: 'weights' },
    Gather: { role: 'weights' },
    GRU: { role: 'weights' },
    RNN: { role: 'weights' },
    LSTM: { role: 'dynamic' },

    Add: { role: 'follow' },
    AveragePool: { role: 'follow' },
    Concat: { role: 'follow' },
    GlobalAveragePool: { role: 'follow' },
    LeakyRelu: { role: 'follow' },
    Mul: { role: 'follow' },
    Sigmoid: { role: 'follow' },
    Softmax: { role: 'follow' },
    Where: { role: 'follow' },

    DepthToSpace: { role: 'move' },
    Expand: { role: 'move' },
    Flatten: { role: 'move' },
    MaxPool: { role: 'move' },
    Pad: { role: 'move', onCodes: true, refuses: padsWithOther },
    ReduceMax: { role: 'move' },
    ReduceMin: { role: 'move' },
    Reshape: { role: 'move' },
    Resize: { role: 'move' },
    Slice: { role: 'move' },
    Split: { role: 'move', onCodes: true },
    Squeeze: { role: 'move' },
    Tile: { role: 'move' },
    Transpose: { role: 'move' },
    Unsqueeze: { role: 'move' },
  },
  activations: ['uint8', 'int8'],
  weights: ['int8', 'uint8', 'int7', 'uint7', 'int6', 'uint6', 'int5', 'uint5'],
  fusesIntoSymmetric: false,
  saturatesWithoutVnni: true,
};
