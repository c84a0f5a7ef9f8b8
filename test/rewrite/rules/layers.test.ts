import { describe, expect, it } from 'vitest';
import { batchNormToConv } from '../../../src/rewrite/rules/batchnorm-to-conv.js';
import { matMulAddToGemm } from '../../../src/rewrite/rules/matmul-add-to-gemm.js';
import { expectRewrite } from '../../helpers/equivalence.js';
import { model, parseText } from '../../helpers/model.js';
import { applying, refusals } from '../passes.js';

/** Sums of a few float32 products of order 1. */
const ROUNDING = { atol: 2e-6, rtol: 1e-5 };

describe('a BatchNormalization of its own', () => {
  const PARAMETERS = `
    gamma: float32[3] = {2, 4, 6}
    beta: float32[3] = {1, 1, 1}
    mean: float32[3] = {0, 1, 2}
    variance: float32[3] = {4, 4, 4}`;

  it('becomes a depthwise Conv', () =>
    expectRewrite({
      rewrite: applying(batchNormToConv),
      before: parseText(`opset 17 (float32[N,3,4,4] x) => (float32[N,3,4,4] y) {
        ${PARAMETERS}
        y = [bn] BatchNormalization<epsilon=0.0>(x, gamma, beta, mean, variance)
      }`),
      after: `
        opset 17
        (float32[N,3,4,4] x) => (float32[N,3,4,4] y) {
          bn_weight: float32[3,1,1,1] = {1, 2, 3}
          bn_bias: float32[3] = {1, -1, -5}
          y = Conv<group=3, kernel_shape=[1, 1]>(x, bn_weight, bn_bias)
        }`,
      tolerance: ROUNDING,
    }));

  it.each([
    ['float32[N,3]', 'its input has 2 axes and a convolution needs 3'],
    ['float32[]', 'its input has no known rank, or its scale is not constant'],
  ])('stays on %s', async (type, reason) => {
    const before = parseText(`opset 17 (${type} x) => (y) {
      ${PARAMETERS}
      y = [bn] BatchNormalization(x, gamma, beta, mean, variance)
    }`);
    expect(await refusals(batchNormToConv, before)).toEqual([`BatchNormalization 'bn' stays: ${reason}`]);
  });

  it('stays in training mode', async () => {
    const before = parseText(`opset 17 (float32[2,3,4] x) => (y, m, v) {
      ${PARAMETERS}
      y, m, v = [bn] BatchNormalization<training_mode=1>(x, gamma, beta, mean, variance)
    }`);
    expect(await refusals(batchNormToConv, before)).toEqual([
      "BatchNormalization 'bn' stays: the normalization is in training mode",
    ]);
  });
});

describe('MatMul and Add', () => {
  it.each(['Add(m, b)', 'Add(b, m)'])('of matrices are a Gemm: %s', async (sum) => {
    await expectRewrite({
      rewrite: applying(matMulAddToGemm),
      before: parseText(`opset 17 (float32[N,4] x) => (float32[N,3] y) {
        w: float32[4,3] = random()
        b: float32[1,3] = random()
        m = [product] MatMul(x, w)
        y = ${sum}
      }`),
      after: `
        opset 17
        (float32[N,4] x) => (float32[N,3] y) {
          w: float32[4,3]
          b: float32[1,3]
          y = [product] Gemm(x, w, b)
        }`,
      text: { elements: 1, names: true },
      tolerance: ROUNDING,
    });
  });

  it.each([
    ['of higher rank', 'float32[N,2,4]', 'float32[3]', '', []],
    ['with one number for all', 'float32[N,4]', 'float32', '', ["'b' is one number for all channels"]],
    ['with a matrix', 'float32[2,4]', 'float32[2,3]', '', ["'b' [2, 3] is not one number a channel"]],
    ['read twice', 'float32[N,4]', 'float32[3]', ', m', ["'m' is a graph output"]],
  ])('stay %s', async (_, input, bias, outputs, reasons) => {
    const before = parseText(`opset 17 (${input} x) => (y${outputs}) {
      w: float32[4,3] = random()
      b: ${bias} = random()
      m = MatMul(x, w)
      y = [sum] Add(m, b)
    }`);
    expect(await refusals(matMulAddToGemm, before)).toEqual(reasons.map((r) => `Add 'sum' stays: ${r}`));
  });

  it('stay when one is a product of activations or its addition is', async () => {
    const before = model`opset 17 (float32[2,2] x, float32[2] c) => (y, z) {
      w: float32[2,2] = random()
      b: float32[2] = random()
      p = MatMul(x, x)
      y = [first] Add(p, b)
      q = MatMul(x, w)
      z = Add(q, c)
    }`;
    expect(await refusals(matMulAddToGemm, before)).toEqual(["Add 'first' stays: 'x' is a graph input"]);
  });
});
