/** What lowering keeps float, what it refuses, and that nothing in between is float. */
import { describe, expect, it } from 'vitest';
import { inferValueTypes } from '../../../src/engine/index.js';
import { model } from '../../helpers/model.js';
import { integerModel, randomInput, runBoth, runModel } from './integer-model.js';

const x = randomInput([2, 4, 6, 6]);

const network = model`opset 17 (float32[N,4,6,6] x) => (y) {
  w: float32[4,4,3,3] = random(seed=1, scale=0.2)
  v: float32[3,4] = random(seed=2)
  c = Conv<pads=[1,1,1,1]>(x, w)
  r = Relu(c)
  a = Add(r, x)
  s = Sigmoid(a)
  g = GlobalAveragePool(s)
  f = Flatten(g)
  m = Gemm<transB=1>(f, v)
  y = [head] Softmax(m) }`;

describe('lowerToIntegers', () => {
  it.each(['uint8', 'fix8', 'int16'])('leaves no float between input and output: %s', async (activations) => {
    const integer = await integerModel(network, { x }, { activations });
    const types = await inferValueTypes(integer.model);
    const { graph } = integer.model;
    const isFloat = (name: string): boolean => /^b?float/.test(types.get(name)?.dtype ?? '');
    const back = graph.nodes.filter(
      (n) => n.outputs.some(isFloat) && n.inputs.some((i) => !isFloat(i) && !graph.initializers.has(i)),
    );
    expect(back.map((n) => n.opType)).toEqual(['DequantizeLinear']);
    const domains = new Set(graph.nodes.map((n) => n.domain));
    expect([...domains]).toEqual(['']);
  });

  it('runs excluded nodes at the end in float, behind the output dequantization', async () => {
    const nodes = [{ match: { node: 'head' }, quantize: false }];
    const integer = await integerModel(network, { x }, { nodes });
    expect(integer.lowered.after.map((n) => n.name)).toEqual(['head']);
    const [y] = (await runModel(integer.model, { x })).values();
    const sums = [0, 1].map((row) => y!.subarray(3 * row, 3 * row + 3).reduce((a, b) => a + b));
    expect(sums).toBeAllclose([1, 1], { atol: 1e-6, rtol: 0 });
  });

  it('keeps float nodes before the first quantized one', async () => {
    const early = model`opset 17 (float32[N,4,6,6] x) => (y) {
      w: float32[4,4,3,3] = random(seed=1, scale=0.2)
      h: float32 = 0.5
      p = [scale] Mul(x, h)
      y = Conv(p, w) }`;
    const nodes = [{ match: { node: 'scale' }, quantize: false }];
    const integer = await integerModel(early, { x }, { nodes });
    expect(integer.lowered.before.map((n) => n.name)).toEqual(['scale']);
    expect(integer.lowered.program.inputs.map((b) => b.real)).toEqual(['p']);
  });

  it('refuses a float node in between, naming both sides', async () => {
    const nodes = [{ match: { node: '/Sigmoid/' }, quantize: false }];
    await expect(integerModel(network, { x }, { nodes })).rejects.toThrow(
      /GlobalAveragePool.* needs 's', which Sigmoid .* computes in float/,
    );
  });

  it.each([
    [
      'an average pool whose divisor varies',
      model`opset 17 (float32[N,4,6,6] x) => (y) {
        y = [pool] AveragePool<kernel_shape=[3,3], pads=[1,1,1,1]>(x) }`,
      /AveragePool 'pool'.*count_include_pad/,
    ],
    [
      'a quotient of activations',
      model`opset 17 (float32[N,4,6,6] x) => (y) {
        s = Sigmoid(x)
        y = [ratio] Div(x, s) }`,
      /Div 'ratio'.*divisor/,
    ],
    [
      'an operator nobody lowers',
      model`opset 17 (float32[N,4,6,6] x) => (y) {
        s = Sigmoid(x)
        c = [total] CumSum(s, axis)
        y = Sigmoid(c)
        axis: int64 = 1 }`,
      /Sigmoid .* needs 'c', which CumSum 'total' computes in float/,
    ],
  ])('refuses %s, with the reason', async (_, refused, message) => {
    await expect(integerModel(refused, { x })).rejects.toThrow(message);
  });

  it('refuses weights whose codes are not integers', async () => {
    await expect(integerModel(network, { x }, { weights: 'e4m3' })).rejects.toThrow(/not integers/);
  });

  it('does not depend on the number of threads or on graph optimization', async () => {
    const integer = await integerModel(network, { x });
    for (const { interpreted, plain, optimized } of await runBoth(integer, { x })) {
      expect(plain).toEqual(interpreted);
      expect(optimized).toEqual(interpreted);
    }
  });
});
