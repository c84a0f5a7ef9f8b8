/** A small float model and hand-quantized versions of it, for tests of the report. */
import { graph, model, node, value, type Model, type Node } from '../../src/onnx/index.js';
import { createRng } from '../../src/core/index.js';
import { tensor, type Tensor } from '../../src/tensor/index.js';
import { type LabelledBatch } from '../../src/report/evaluate.js';

const rng = createRng(7);
const normal = (n: number, scale = 1): number[] => Array.from({ length: n }, () => scale * rng.normal());

const W1 = normal(8 * 16);
const W2 = normal(16 * 4, 0.5);
const B1 = normal(16, 0.1);

/** x [N, 8] → fc1 → relu → fc2 → logits [N, 4]. */
export function floatModel(): Model {
  return model(
    graph({
      inputs: [value('x', 'float32', ['N', 8])],
      outputs: [value('logits', 'float32', ['N', 4])],
      initializers: [
        ['W1', tensor('float32', [8, 16], W1)],
        ['b1', tensor('float32', [16], B1)],
        ['W2', tensor('float32', [16, 4], W2)],
      ],
      nodes: [
        node('Gemm', ['x', 'W1', 'b1'], ['h'], {}, { name: 'fc1' }),
        node('Relu', ['h'], ['r'], {}, { name: 'relu' }),
        node('MatMul', ['r', 'W2'], ['logits'], {}, { name: 'fc2' }),
      ],
    }),
    17,
  );
}

export interface QuantizedOptions {
  /** Step of the second layer's weights; a coarse one makes it the culprit. */
  readonly step2?: number;
  /** Scale of the hidden activation. */
  readonly hiddenScale?: number;
  /** Gives DequantizeLinear the output name `logits`, as tools do for graph outputs. */
  readonly quantizeOutput?: boolean;
}

/** The same model in QDQ form: int8 weights per tensor, uint8 activations. */
export function quantizedModel(options: QuantizedOptions = {}): Model {
  const { step2 = 0.02, hiddenScale = 0.05, quantizeOutput = false } = options;
  const step1 = 0.03;
  const codes = (values: readonly number[], step: number): number[] =>
    values.map((w) => Math.max(-127, Math.min(127, Math.round(w / step))));
  const pair = (name: string, scale: string, zero: string): Node[] => [
    node('QuantizeLinear', [name, scale, zero], [`${name}_q`]),
    node('DequantizeLinear', [`${name}_q`, scale, zero], [`${name}_dq`]),
  ];
  const last = quantizeOutput ? 'logits_raw' : 'logits';
  return model(
    graph({
      inputs: [value('x', 'float32', ['N', 8])],
      outputs: [value('logits', 'float32', ['N', 4])],
      initializers: [
        ['W1_q', tensor('int8', [8, 16], codes(W1, step1))],
        ['W2_q', tensor('int8', [16, 4], codes(W2, step2))],
        ['b1', tensor('float32', [16], B1)],
        ['step1', tensor('float32', [], [step1])],
        ['step2', tensor('float32', [], [step2])],
        ['zero', tensor('int8', [], [0])],
        ['sx', tensor('float32', [], [0.04])],
        ['zx', tensor('uint8', [], [128])],
        ['sr', tensor('float32', [], [hiddenScale])],
        ['zr', tensor('uint8', [], [0])],
      ],
      nodes: [
        ...pair('x', 'sx', 'zx'),
        node('DequantizeLinear', ['W1_q', 'step1', 'zero'], ['W1_dq']),
        node('Gemm', ['x_dq', 'W1_dq', 'b1'], ['h'], {}, { name: 'fc1' }),
        node('Relu', ['h'], ['r'], {}, { name: 'relu' }),
        ...pair('r', 'sr', 'zr'),
        node('DequantizeLinear', ['W2_q', 'step2', 'zero'], ['W2_dq']),
        node('MatMul', ['r_dq', 'W2_dq'], [last], {}, { name: 'fc2' }),
        ...(quantizeOutput
          ? [
              node('QuantizeLinear', [last, 'sx', 'zx'], ['logits_q']),
              node('DequantizeLinear', ['logits_q', 'sx', 'zx'], ['logits']),
            ]
          : []),
      ],
    }),
    17,
  );
}

/** Seeded inputs in batches of four; every sample's label is its index modulo 4. */
export function* batches(samples = 16): Generator<LabelledBatch> {
  const source = createRng(3);
  for (let first = 0; first < samples; first += 4) {
    const count = Math.min(4, samples - first);
    const x: Tensor = tensor(
      'float32',
      [count, 8],
      Array.from({ length: count * 8 }, () => source.normal()),
    );
    const labels = tensor(
      'int64',
      [count],
      Array.from({ length: count }, (_, i) => (first + i) % 4),
    );
    yield { first, count, inputs: new Map([['x', x]]), labels };
  }
}
