/** Sparsity patterns as gates: what a model multiplies decides, not what somebody says of it. */
import { expect, test } from 'vitest';
import { checkGates, parseGate } from '../../src/report/gates.js';
import { quantities, type Measured } from '../../src/report/quantities.js';
import { measurePatterns, patternsAskedFor } from '../../src/report/sparsity.js';
import { storeTensor, withGraph, type Model } from '../../src/onnx/index.js';
import { tensor } from '../../src/tensor/index.js';
import { model } from '../helpers/model.js';

const net = model`
  opset 17
  (float32[1,3,4,4] x) => (float32[1,4] y) {
    w0: float32[8,3,3,3] = random()
    w1: float32[8,8,1,1] = random()
    w2: float32[8,8,1,1] = random()
    head: float32[8,4] = random()
    a = [stem] Conv<pads=[1, 1, 1, 1]>(x, w0)
    b = [first] Conv(a, w1)
    c = [second] Conv(b, w2)
    g = GlobalAveragePool(c)
    h = Flatten(g)
    y = [head] MatMul(h, head)
  }`;

/** The model with two of every four input channels of some weights at zero, or three where one more stays. */
function sparse(names: readonly string[], broken = false): Model {
  const initializers = new Map(net.graph.initializers);
  for (const name of names) {
    const values = Float32Array.from({ length: 64 }, (_, i) => (i % 4 < 2 ? 1 : 0));
    if (broken) values[6] = 1;
    initializers.set(name, storeTensor(tensor('float32', [8, 8, 1, 1], values)));
  }
  return withGraph(net, { ...net.graph, initializers });
}

const none = {
  metrics: [],
  outputs: [],
  layers: [],
  size: { float: 1, quantized: 1 },
} as unknown as Measured;

async function passes(gate: string, candidate: Model): Promise<boolean> {
  const sparsity = await measurePatterns(candidate, patternsAskedFor([parseGate(gate).quantity]));
  const [result] = checkGates([parseGate(gate)], quantities({ ...none, sparsity }));
  return result!.passed;
}

test('a pattern holds only where every eligible layer keeps it in every group', async () => {
  expect(await passes('2:4 == 100 %', sparse(['w1', 'w2']))).toBe(true);
  expect(await passes('2:4 == 100 %', sparse(['w1']))).toBe(false);
  expect(await passes('2:4 == 100 %', sparse(['w1', 'w2'], true))).toBe(false);
  expect(await passes('2:4.layers >= 1', sparse(['w1']))).toBe(true);
  expect(await passes('2:4.violations == 2', sparse(['w1', 'w2'], true))).toBe(true);
  expect(await passes('1:4 == 100 %', sparse(['w1', 'w2']))).toBe(false);
});

test('zeros are counted over the weights of all layers', async () => {
  const share = (100 * 64) / (8 * 27 + 64 + 64 + 32);
  expect(await passes(`sparsity >= ${(share - 0.1).toFixed(2)} %`, sparse(['w1', 'w2']))).toBe(true);
  expect(await passes(`sparsity >= ${(share + 0.1).toFixed(2)} %`, sparse(['w1', 'w2']))).toBe(false);
});

test('every node with a weight is there, with the reason where it cannot be sparse', async () => {
  const [result] = await measurePatterns(sparse(['w1']), ['2:4']);
  expect(result!.layers.map(({ node, keeps, why }) => [node, keeps, why])).toEqual([
    ['stem', false, 'its 3 input channels are no multiple of 4 (2:4)'],
    ['first', true, undefined],
    ['second', false, undefined],
    ['head', false, 'the first and the last layer stay dense'],
  ]);
});
