/** A small convolutional network with a skip path and a depthwise layer, and images for it. */
import { createRng, type Rng } from '../../../src/core/index.js';
import { graph, model, node, storeTensor, value, type Model } from '../../../src/onnx/index.js';
import { tensor, type Tensor } from '../../../src/tensor/index.js';

const CHANNELS = 8;
const SIZE = 6;

function random(rng: Rng, dims: readonly number[], scale: number): Tensor {
  const count = dims.reduce((a, b) => a * b, 1);
  return tensor(
    'float32',
    dims,
    Float32Array.from({ length: count }, () => scale * rng.normal()),
  );
}

/** conv → relu → depthwise → relu → pointwise → add → relu → pool → gemm. */
export function toyNetwork(seed = 1): Model {
  const rng = createRng(seed);
  const initializers = [
    ['w0', random(rng, [CHANNELS, 3, 3, 3], 0.3)],
    ['b0', random(rng, [CHANNELS], 0.2)],
    ['w1', random(rng, [CHANNELS, 1, 3, 3], 0.4)],
    ['b1', random(rng, [CHANNELS], 0.2)],
    ['w2', random(rng, [CHANNELS, CHANNELS, 1, 1], 0.4)],
    ['b2', random(rng, [CHANNELS], 0.2)],
    ['w3', random(rng, [5, CHANNELS], 1)],
    ['b3', random(rng, [5], 0.2)],
  ] as const;
  const pads = [1, 1, 1, 1];
  return model(
    graph({
      name: 'toy',
      inputs: [value('x', 'float32', ['N', 3, SIZE, SIZE])],
      outputs: [value('logits', 'float32', ['N', 5])],
      nodes: [
        node('Conv', ['x', 'w0', 'b0'], ['c0'], { pads }, { name: 'first' }),
        node('Relu', ['c0'], ['r0'], {}, { name: 'relu0' }),
        node('Conv', ['r0', 'w1', 'b1'], ['c1'], { pads, group: CHANNELS }, { name: 'depthwise' }),
        node('Relu', ['c1'], ['r1'], {}, { name: 'relu1' }),
        node('Conv', ['r1', 'w2', 'b2'], ['c2'], {}, { name: 'pointwise' }),
        node('Add', ['c2', 'r0'], ['sum'], {}, { name: 'add' }),
        node('Relu', ['sum'], ['r2'], {}, { name: 'relu2' }),
        node('GlobalAveragePool', ['r2'], ['pooled'], {}, { name: 'pool' }),
        node('Flatten', ['pooled'], ['flat'], {}, { name: 'flatten' }),
        node('Gemm', ['flat', 'w3', 'b3'], ['logits'], { transB: 1 }, { name: 'head' }),
      ],
      initializers: initializers.map(([name, t]) => [name, storeTensor(t)] as const),
    }),
    21,
  );
}

/** Smooth images: few random waves each. */
export function toyImages(seed: number, count: number): Tensor {
  const rng = createRng(seed);
  const data = new Float32Array(count * 3 * SIZE * SIZE);
  let at = 0;
  for (let n = 0; n < count; n++) {
    const waves = Array.from({ length: 4 }, () => [
      rng.normal(),
      rng.normal(),
      rng.uniform() * 6,
      rng.normal(),
    ]);
    for (let c = 0; c < 3; c++)
      for (let i = 0; i < SIZE; i++)
        for (let j = 0; j < SIZE; j++)
          data[at++] = waves.reduce(
            (sum, [u = 0, v = 0, phase = 0, a = 0]) => sum + a * Math.sin(u * i + v * j + phase + c),
            0,
          );
  }
  return tensor('float32', [count, 3, SIZE, SIZE], data);
}
