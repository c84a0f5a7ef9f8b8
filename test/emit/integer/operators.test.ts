/** Every operator the integer emitter writes: the runtime and the interpreter agree bit for bit, near the float model. */
import { describe, expect, it } from 'vitest';
import { everyNode, type Model } from '../../../src/onnx/index.js';
import { errorSums, sqnr, type Tensor } from '../../../src/tensor/index.js';
import { model } from '../../helpers/model.js';
import { integerModel, randomInput, runBoth, runModel } from './integer-model.js';

interface Case {
  readonly model: Model;
  readonly dims?: readonly number[];
  /** Least SQNR against the float model, dB, where every operand has 8 bits. */
  readonly sqnr?: number;
}

const CASES: Readonly<Record<string, Case>> = {
  convolution: {
    model: model`opset 17 (float32[N,4,8,8] x) => (float32[N,6,4,4] y) {
      w: float32[6,4,3,3] = random(seed=1, scale=0.2)
      b: float32[6] = random(seed=2, scale=0.5)
      y = Conv<pads=[1,1,1,1], strides=[2,2]>(x, w, b) }`,
  },
  'convolution, depthwise, asymmetric padding, dilation': {
    model: model`opset 17 (float32[N,4,8,8] x) => (y) {
      w: float32[8,1,3,2] = random(seed=1, scale=0.5)
      y = Conv<group=4, pads=[0,1,2,1], dilations=[2,1]>(x, w) }`,
  },
  'convolution in one dimension, SAME_UPPER': {
    model: model`opset 17 (float32[N,4,11] x) => (y) {
      w: float32[3,4,4] = random(seed=1, scale=0.3)
      y = Conv<auto_pad="SAME_UPPER", strides=[2]>(x, w) }`,
    dims: [2, 4, 11],
  },
  'convolution and Relu': {
    model: model`opset 17 (float32[N,4,8,8] x) => (y) {
      w: float32[6,4,3,3] = random(seed=1, scale=0.2)
      b: float32[6] = random(seed=2, scale=0.5)
      c = Conv(x, w, b)
      y = Relu(c) }`,
  },
  'convolution and Clip': {
    model: model`opset 17 (float32[N,4,8,8] x) => (y) {
      w: float32[6,4,3,3] = random(seed=1, scale=0.2)
      low: float32 = -0.7
      high: float32 = 1.3
      c = Conv(x, w)
      y = Clip(c, low, high) }`,
  },
  'Relu with two readers': {
    model: model`opset 17 (float32[N,4,8,8] x) => (y) {
      s = Add(x, x)
      r = Relu(s)
      y = Add(r, s) }`,
  },
  'fully connected': {
    model: model`opset 17 (float32[N,40] x) => (y) {
      w: float32[10,40] = random(seed=1, scale=0.2)
      b: float32[10] = random(seed=2)
      y = Gemm<transB=1>(x, w, b) }`,
    dims: [3, 40],
  },
  'matrix product with a weight': {
    model: model`opset 17 (float32[N,7,40] x) => (y) {
      w: float32[40,10] = random(seed=1, scale=0.2)
      y = MatMul(x, w) }`,
    dims: [3, 7, 40],
  },
  'matrix product of activations': {
    model: model`opset 17 (float32[N,2,7,5] x) => (y) {
      t = Transpose<perm=[0,1,3,2]>(x)
      s = MatMul(x, t)
      y = MatMul(s, x) }`,
    dims: [3, 2, 7, 5],
    sqnr: 12,
  },
  'sums and differences, broadcast': {
    model: model`opset 17 (float32[N,4,8,8] x) => (y) {
      c: float32[4,1,1] = random(seed=1)
      a = Add(x, c)
      s = Sub(a, x)
      y = Add(s, a) }`,
  },
  'products, by a number, a vector and an activation': {
    model: model`opset 17 (float32[N,4,8,8] x) => (y) {
      k: float32 = -0.37
      v: float32[1,4,1,1] = random(seed=1)
      d: float32[1] = 1.7
      a = Mul(x, k)
      b = Mul(a, v)
      p = Mul(b, x)
      y = Div(p, d) }`,
    sqnr: 16,
  },
  pooling: {
    model: model`opset 17 (float32[N,4,8,8] x) => (y, z) {
      m = MaxPool<kernel_shape=[3,3], strides=[2,2], pads=[1,1,1,1]>(x)
      a = AveragePool<kernel_shape=[2,2], strides=[2,2]>(m)
      y = GlobalAveragePool(a)
      z = ReduceMean<axes=[2,3], keepdims=0>(x) }`,
    sqnr: 18,
  },
  'average pool that counts its padding': {
    model: model`opset 17 (float32[N,4,8,8] x) => (y) {
      y = AveragePool<kernel_shape=[3,3], pads=[1,1,1,1], count_include_pad=1>(x) }`,
  },
  functions: {
    model: model`opset 20 (float32[N,4,8,8] x) => (y) {
      a = Sigmoid(x)
      b = Tanh(x)
      c = Gelu(x)
      d = HardSwish(x)
      e = LeakyRelu<alpha=0.1>(x)
      f = Mul(a, b)
      g = Add(c, d)
      h = Add(e, f)
      y = Add(g, h) }`,
  },
  softmax: {
    model: model`opset 17 (float32[N,4,8,8] x) => (y) {
      y = Softmax<axis=-1>(x) }`,
  },
  'softmax over an inner axis': {
    model: model`opset 19 (float32[N,4,8,8] x) => (y) {
      y = Softmax<axis=1>(x) }`,
  },
  'layer normalization': {
    model: model`opset 17 (float32[N,6,32] x) => (y) {
      g: float32[32] = random(seed=1, mean=1, scale=0.2)
      b: float32[32] = random(seed=2, scale=0.3)
      y = LayerNormalization<epsilon=1e-5>(x, g, b) }`,
    dims: [3, 6, 32],
  },
  movement: {
    model: model`opset 17 (float32[N,4,8,8] x) => (y) {
      pads: int64[8] = {0, 1, 2, 0, 0, 0, 1, 3}
      fill: float32 = 0.5
      from: int64[2] = {1, 7}
      to: int64[2] = {5, -9}
      axes: int64[2] = {1, 2}
      steps: int64[2] = {1, -2}
      shape: int64[3] = {0, -1, 11}
      s = Add(x, x)
      p = Pad(s, pads, fill)
      c = Slice(p, from, to, axes, steps)
      t = Transpose<perm=[0,2,1,3]>(c)
      r = Reshape(t, shape)
      sizes: int64[2] = {5, 6}
      h, l = Split<axis=2>(r, sizes)
      k = Concat<axis=2>(l, h)
      y = Add(k, k) }`,
  },
  'a constant repeated along the batch and joined, one row taken': {
    model: model`opset 17 (float32[N,5,8] x) => (y) {
      token: float32[1,1,8] = random(seed=1)
      zero: int64[1] = {0}
      one: int64[1] = {1}
      rest: int64[2] = {1, 8}
      i: int64 = 0
      s = Add(x, x)
      all = Shape(s)
      batch = Slice(all, zero, one)
      shape = Concat<axis=0>(batch, rest)
      e = Expand(token, shape)
      c = Concat<axis=1>(e, s)
      a = Add(c, c)
      g = Gather<axis=1>(a, i)
      y = Add(g, g) }`,
    dims: [2, 5, 8],
  },
};

describe.each(Object.entries(CASES))('%s', (_, { model: float, dims = [2, 4, 8, 8], sqnr: least = 20 }) => {
  it.each([
    ['uint8', 'int8'],
    ['int8-narrow', 'int8'],
    ['fix8', 'fix8'],
    ['int16', 'int8'],
    ['uint16', 'int8'],
    ['dfp16', 'dfp16'],
    ['fix12:AP_TRN:AP_SAT', 'fix6'],
  ])('activations %s, weights %s', async (activations, weights) => {
    const x: Tensor = randomInput(dims);
    const integer = await integerModel(float, { x }, { activations, weights });
    const reference = await runModel(float, { x });
    const results = await runBoth(integer, { x });
    expect(results.length).toBe(float.graph.outputs.length);
    results.forEach(({ interpreted, plain, optimized }, i) => {
      expect(plain).toEqual(interpreted);
      expect(optimized).toEqual(interpreted);
      const expected = [...reference.values()][i]!;
      const quality = sqnr(errorSums(expected, interpreted));
      if (weights !== 'fix6') expect(quality).toBeGreaterThan(least);
    });
    const types = new Set(everyNode(integer.model.graph).map((n) => n.opType));
    for (const op of ['Conv', 'MatMul', 'Gemm', 'Sigmoid', 'Softmax', 'LayerNormalization', 'Exp', 'Pow'])
      expect(types.has(op)).toBe(false);
  });
});
