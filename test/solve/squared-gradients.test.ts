/** Squared gradients of the output's loss: closed form at the logits, and the chain rule before them. */
import { expect, it } from 'vitest';
import { createContext, createRng } from '../../src/core/index.js';
import { graph, model, node, storeTensor, value } from '../../src/onnx/index.js';
import { squaredGradients } from '../../src/solve/index.js';
import { softmax, tensor, toFloat32 } from '../../src/tensor/index.js';

it('is p(1 − p) at the logits of a classifier, and A² of that before a scaling by A', async () => {
  const gain = [3, -0.5, 1];
  const network = model(
    graph({
      name: 'g',
      inputs: [value('x', 'float32', ['N', 3])],
      outputs: [value('z', 'float32', ['N', 3])],
      nodes: [node('Mul', ['x', 'a'], ['z'], {}, { name: 'scale' })],
      initializers: [['a', storeTensor(tensor('float32', [3], gain))]],
    }),
    21,
  );
  const rng = createRng(5);
  const batches = Array.from({ length: 8 }, (_, b) => ({
    first: b * 512,
    count: 512,
    inputs: new Map([
      [
        'x',
        tensor(
          'float32',
          [512, 3],
          Float32Array.from({ length: 1536 }, () => rng.normal() / 2),
        ),
      ],
    ]),
  }));
  const found = await squaredGradients(network, ['z', 'x'], batches, createContext());
  const expected = [0, 0, 0];
  for (const { inputs } of batches) {
    const x = toFloat32(inputs.get('x') ?? tensor('float32', [0]));
    for (let i = 0; i < x.length; i += 3) {
      const p = softmax(x.subarray(i, i + 3).map((v, c) => v * (gain[c] ?? 0)));
      p.forEach((v, c) => (expected[c] = (expected[c] ?? 0) + (v * (1 - v)) / 4096));
    }
  }
  const at = (name: string): number[] => Array.from(toFloat32(found.get(name) ?? tensor('float32', [0])));
  expect(at('z')).toHaveLength(3);
  at('z').forEach((g, c) => expect(g / (expected[c] ?? 0)).toBeCloseTo(1, 1));
  at('x').forEach((g, c) => expect(g / (at('z')[c] ?? 0)).toBeCloseTo((gain[c] ?? 0) ** 2, 4));
});
