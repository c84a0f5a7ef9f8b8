/** Cross-layer equalization: the same function exactly, far less error with one scale a weight, and nothing to do where channels are alike. */
import { describe, expect, it } from 'vitest';
import { createRng } from '../../../src/core/index.js';
import { emitQdq } from '../../../src/emit/index.js';
import { inferValueTypes, openSession } from '../../../src/engine/index.js';
import { type Model } from '../../../src/onnx/index.js';
import { DEFAULT_SETTINGS, planQuantization } from '../../../src/plan/index.js';
import { findChannelGroups } from '../../../src/rewrite/equalize/channel-groups.js';
import { equalizeCrossLayer, type Equalized } from '../../../src/rewrite/equalize/cross-layer.js';
import { rescale } from '../../../src/rewrite/equalize/rescale.js';
import { roundToNearest } from '../../../src/solve/round-to-nearest.js';
import { errorSums, toFloat32 } from '../../../src/tensor/index.js';
import { expectEquivalent, randomFeeds } from '../../helpers/equivalence.js';
import { model } from '../../helpers/model.js';

const CLOSE = { atol: 1e-5, rtol: 1e-5 };

/** Convolution, depthwise convolution, pointwise convolution, pooling and a matrix product, as mobile networks have them. */
const mobile = (): Model => model`
  opset 21
  (float32[N,3,8,8] x) => (float32[N,5] y) {
    w1: float32[8,3,3,3] = random(scale=0.3)
    b1: float32[8] = random(scale=0.1)
    w2: float32[8,1,3,3] = random(scale=0.3)
    b2: float32[8] = random(scale=0.1)
    w3: float32[12,8,1,1] = random(scale=0.3)
    b3: float32[12] = random(scale=0.1)
    w4: float32[5,48] = random(scale=0.3)
    b4: float32[5] = random(scale=0.1)
    c1 = [c1] Conv<pads=[1, 1, 1, 1]>(x, w1, b1)
    r1 = Relu(c1)
    c2 = [c2] Conv<pads=[1, 1, 1, 1], group=8>(r1, w2, b2)
    r2 = Relu(c2)
    c3 = [c3] Conv(r2, w3, b3)
    r3 = LeakyRelu<alpha=0.1>(c3)
    p = AveragePool<kernel_shape=[4, 4], strides=[4, 4]>(r3)
    f = Flatten(p)
    y = [fc] Gemm<transB=1>(f, w4, b4)
  }`;

async function equalized(source: Model): Promise<Equalized> {
  return equalizeCrossLayer(source, await inferValueTypes(source));
}

/** The same function with channels that differ up to a hundredfold in reach. */
async function unbalanced(source: Model): Promise<Model> {
  const rng = createRng(5);
  const { groups } = findChannelGroups(source.graph, await inferValueTypes(source));
  return rescale(
    source,
    groups.map((group) => ({
      group,
      scales: Float64Array.from({ length: group.channels }, () => 10 ** (2 * rng.uniform() - 1)),
    })),
  );
}

/** Relative error of the output when weights have one scale each. */
async function errorPerTensor(source: Model, weights: string): Promise<number> {
  const settings = { ...DEFAULT_SETTINGS, weights, activations: 'float', granularity: 'tensor' } as const;
  const plan = planQuantization(source, await inferValueTypes(source), settings);
  const quantized = emitQdq(source, plan, roundToNearest(source.graph, plan, 'range'));
  const feeds = randomFeeds(source, { dims: { N: 32 } });
  const [a, b] = await Promise.all(
    [source, quantized].map(async (m) => {
      const session = await openSession(m, { threads: 1 });
      const [output] = (await session.run(feeds)).values();
      await session.release();
      return output === undefined ? new Float32Array() : toFloat32(output);
    }),
  );
  const { noise, signal } = errorSums(a ?? [], b ?? []);
  return noise / signal;
}

describe('cross-layer equalization', () => {
  it('computes the same, and saves most of the error that one scale a weight costs', async () => {
    const source = await unbalanced(mobile());
    const { model: after, groups } = await equalized(source);
    await expectEquivalent(after, source, CLOSE);
    expect(groups.map((g) => [g.from, g.to])).toEqual([
      [['c1'], ['c2']],
      [['c2'], ['c3']],
      [['c3'], ['fc']],
    ]);
    for (const group of groups) {
      expect(group.before.bits).toBeGreaterThan(group.after.bits);
      expect(group.before.ratio).toBeGreaterThan(group.after.ratio);
    }
    for (const [format, gain] of [
      ['int8', 20],
      ['int4', 5],
    ] as const)
      expect(await errorPerTensor(after, format)).toBeLessThan((await errorPerTensor(source, format)) / gain);
  });

  it('leaves rows and columns of each channel with the same reach', async () => {
    const { model: after } = await equalized(await unbalanced(mobile()));
    const again = await equalized(after);
    expect(again.model).toBe(after);
    expect(again.groups).toEqual([]);
  });

  it('changes nothing where channels are alike already', async () => {
    const source = model`
      opset 17
      (float32[N,4] x) => (float32[N,3] y) {
        w1: float32[4,6] = full(value=0.5)
        w2: float32[6,3] = full(value=-0.5)
        a = MatMul(x, w1)
        r = Relu(a)
        y = MatMul(r, w2)
      }`;
    const { model: after, groups } = await equalized(source);
    expect(after).toBe(source);
    expect(groups).toEqual([]);
  });

  it.each([
    ['PRelu', 'r = PRelu(a, slope)'],
    ['a Clip at 0', 'r = Clip(a, zero)'],
    ['MaxPool', 'r = MaxPool<kernel_shape=[2, 2], pads=[0, 0, 1, 1]>(a)'],
    ['a gate', 'g = Sigmoid(x)\n r = Mul(a, g)'],
    ['a constant sum', 's = Add(a, c)\n r = Relu(s)'],
    [
      'two transposes',
      't = Transpose<perm=[0, 2, 3, 1]>(a)\n u = Relu(t)\n r = Transpose<perm=[0, 3, 1, 2]>(u)',
    ],
  ])('goes through %s', async (_, text) => {
    const source = model`
      opset 17
      (float32[N,4,6,6] x) => (float32[N,4,?,?] y) {
        w1: float32[4,4,3,3] = random(scale=0.3)
        w2: float32[4,2,3,3] = random(scale=3)
        slope: float32[4,1,1] = random(low=0.1, high=0.5)
        zero: float32 = {0}
        c: float32[1,4,1,1] = random()
        a = [up] Conv<pads=[1, 1, 1, 1]>(x, w1)
        ${text}
        y = [down] ConvTranspose<group=2, strides=[2, 2]>(r, w2)
      }`;
    const { model: after, groups } = await equalized(source);
    expect(groups.map((g) => [g.from, g.to])).toEqual([[['up'], ['down']]]);
    await expectEquivalent(after, source, CLOSE);
  });

  it('follows a residual sum to all of its layers', async () => {
    const source = model`
      opset 17
      (float32[N,3,6,6] x) => (float32[N,4,6,6] y) {
        w0: float32[8,3,1,1] = random(scale=3)
        w1: float32[8,8,3,3] = random(scale=0.3)
        w2: float32[8,8,3,3] = random(scale=0.1)
        w3: float32[4,8,1,1] = random()
        a = [a] Conv(x, w0)
        s = Relu(a)
        b = [b] Conv<pads=[1, 1, 1, 1]>(s, w1)
        c = Relu(b)
        d = [d] Conv<pads=[1, 1, 1, 1]>(c, w2)
        e = Add(s, d)
        f = Relu(e)
        y = [y] Conv(f, w3)
      }`;
    const bad = await unbalanced(source);
    const { model: after, groups } = await equalized(bad);
    expect(groups.map((g) => [g.from, g.to])).toEqual([
      [
        ['a', 'd'],
        ['b', 'y'],
      ],
      [['b'], ['d']],
    ]);
    await expectEquivalent(after, bad, CLOSE);
  });

  it.each([
    ['a graph output', 'r = Relu(a)', '(float32[N,3] y, float32[N,6] r)', "'r' is a graph output"],
    [
      'another reader',
      'r = Relu(a)\n q = [q] Softmax(r)',
      '(float32[N,3] y, float32[N,6] q)',
      "Softmax 'q' does not",
    ],
    [
      'a limit',
      'six: float32 = {6}\n r = [clip] Clip(a, _, six)',
      '(float32[N,3] y)',
      "Clip 'clip' has a limit",
    ],
    ['a curve', 'g = [g] HardSwish(a)\n r = Relu(g)', '(float32[N,3] y)', "HardSwish 'g' does not"],
    [
      'a shared weight',
      'r = Relu(a)\n z = MatMul(x, w1)',
      '(float32[N,3] y, float32[N,6] z)',
      "'w1' has other readers",
    ],
    ['a square', 'r = [sq] Mul(a, a)', '(float32[N,3] y)', "both operands of Mul 'sq'"],
  ])('stops at %s', async (_, text, outputs, why) => {
    const source = model`
      opset 17
      (float32[N,4] x) => ${outputs} {
        w1: float32[4,6] = random(scale=5)
        w2: float32[6,3] = random()
        a = MatMul(x, w1)
        ${text}
        y = MatMul(r, w2)
      }`;
    const { model: after, refused } = await equalized(source);
    expect(after).toBe(source);
    expect(refused.get('a')).toContain(why);
  });

  it('leaves the layers alone that are not wanted', async () => {
    const source = await unbalanced(mobile());
    const types = await inferValueTypes(source);
    const { groups } = equalizeCrossLayer(
      source,
      types,
      () => undefined,
      (node) => node !== 'c2',
    );
    expect(groups.map((g) => g.from)).toEqual([['c3']]);
  });
});
