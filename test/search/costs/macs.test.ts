import { describe, expect, test } from 'vitest';
import { inferValueTypes } from '../../../src/engine/index.js';
import { countMacs } from '../../../src/search/costs/index.js';
import { model } from '../../helpers/model.js';

describe('countMacs', () => {
  test.each([
    // 8·8 positions × 6 outputs × 4 channels × 3·3
    [
      'Conv',
      model`opset 17 (float32[1,4,8,8] x) => (y) {
      w: float32[6,4,3,3] = random()
      y = [n] Conv<pads=[1, 1, 1, 1]>(x, w) }`,
      64 * 6 * 4 * 9,
    ],
    [
      'depthwise Conv with stride',
      model`opset 17 (float32[1,4,8,8] x) => (y) {
      w: float32[4,1,3,3] = random()
      y = [n] Conv<group=4, pads=[1, 1, 1, 1], strides=[2, 2]>(x, w) }`,
      16 * 4 * 9,
    ],
    // every input element × 5 outputs × 2·2
    [
      'ConvTranspose',
      model`opset 17 (float32[1,4,3,3] x) => (y) {
      w: float32[4,5,2,2] = random()
      y = [n] ConvTranspose<strides=[2, 2]>(x, w) }`,
      9 * 4 * 5 * 4,
    ],
    [
      'Gemm',
      model`opset 17 (float32[7,4] x) => (y) {
      w: float32[4,5] = random()
      y = [n] Gemm(x, w) }`,
      7 * 4 * 5,
    ],
    [
      'Gemm with both operands transposed',
      model`opset 17 (float32[4,7] x) => (y) {
      w: float32[5,4] = random()
      y = [n] Gemm<transA=1, transB=1>(x, w) }`,
      7 * 4 * 5,
    ],
    [
      'batched MatMul of activations',
      model`opset 17 (float32[2,3,5,4] a, float32[2,3,4,6] b) => (y) {
      y = [n] MatMul(a, b) }`,
      6 * 5 * 4 * 6,
    ],
    [
      'Einsum',
      model`opset 17 (float32[2,5,4] a, float32[2,6,4] b) => (y) {
      y = [n] Einsum<equation="bic, bjc -> bij">(a, b) }`,
      2 * 5 * 6 * 4,
    ],
    // 5 steps × batch 2 × (4·3 gates × 7 inputs + 12 × 3 hidden)
    [
      'LSTM',
      model`opset 17 (float32[5,2,7] x) => (y) {
      w: float32[1,12,7] = random()
      r: float32[1,12,3] = random()
      y = [n] LSTM<hidden_size=3>(x, w, r) }`,
      10 * (12 * 7 + 12 * 3),
    ],
    ['an operator without matrices', model`opset 17 (float32[4] x) => (y) { y = [n] Relu(x) }`, 0],
  ])('%s', async (_, source, expected) => {
    const node = source.graph.nodes.find((n) => n.name === 'n')!;
    expect(countMacs(node, { types: await inferValueTypes(source) })).toBe(expected);
  });

  test('takes named dimensions as one sample, or at given sizes', async () => {
    const source = model`opset 17 (float32[batch,length,4] x) => (y) {
      w: float32[4,5] = random()
      y = [n] MatMul(x, w) }`;
    const types = await inferValueTypes(source);
    const node = source.graph.nodes[0]!;
    expect(countMacs(node, { types })).toBe(20);
    expect(countMacs(node, { types, sizes: { length: 12 } })).toBe(12 * 20);
  });
});
