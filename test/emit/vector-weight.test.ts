/** Vector formats in graphs: for every kind of layer the runtime reads exactly the values of the reference. */
import { describe, expect, it } from 'vitest';
import { emitQdq } from '../../src/emit/index.js';
import { auditKernels, openSession, withOutputs } from '../../src/engine/index.js';
import { dequantize } from '../../src/formats/index.js';
import { loadTensor, type Model } from '../../src/onnx/index.js';
import { solvedFormat, type PlanSettings } from '../../src/plan/index.js';
import { groupingOf, roundToNearest } from '../../src/solve/round-to-nearest.js';
import { tensor, toFloat32 } from '../../src/tensor/index.js';
import { model } from '../helpers/model.js';
import { planFixed } from '../helpers/quantized.js';

const LAYERS: Readonly<Record<string, { float: Model; x: number[] }>> = {
  'Conv, rows that vectors fill': {
    float: model`opset 25 (float32[N,4,6,6] x) => (float32[N,6,6,6] y) {
      w: float32[6,4,3,3] = random(seed=1, scale=0.2)
      y = Conv<pads=[1,1,1,1]>(x, w) }`,
    x: [2, 4, 6, 6],
  },
  'Conv of one channel a group, rows that they do not fill': {
    float: model`opset 25 (float32[N,6,6,6] x) => (float32[N,6,6,6] y) {
      w: float32[6,1,3,3] = random(seed=2, scale=0.2)
      y = Conv<group=6, pads=[1,1,1,1]>(x, w) }`,
    x: [2, 6, 6, 6],
  },
  ConvTranspose: {
    float: model`opset 25 (float32[N,6,4,4] x) => (float32[N,5,6,6] y) {
      w: float32[6,5,3,3] = random(seed=3, scale=0.2)
      y = ConvTranspose(x, w) }`,
    x: [2, 6, 4, 4],
  },
  'ConvTranspose of groups': {
    float: model`opset 25 (float32[N,6,4,4] x) => (float32[N,10,6,6] y) {
      w: float32[6,5,3,3] = random(seed=4, scale=0.2)
      y = ConvTranspose<group=2>(x, w) }`,
    x: [2, 6, 4, 4],
  },
  Gemm: {
    float: model`opset 25 (float32[N,13] x) => (float32[N,7] y) {
      w: float32[13,7] = random(seed=5, scale=0.2)
      y = Gemm(x, w) }`,
    x: [2, 13],
  },
  'Gemm, transposed': {
    float: model`opset 25 (float32[N,13] x) => (float32[N,7] y) {
      w: float32[7,13] = random(seed=6, scale=0.2)
      y = Gemm<transB=1>(x, w) }`,
    x: [2, 13],
  },
  'MatMul, left': {
    float: model`opset 25 (float32[N,13,3] x) => (float32[N,7,3] y) {
      w: float32[7,13] = random(seed=7, scale=0.2)
      y = MatMul(w, x) }`,
    x: [2, 13, 3],
  },
  'MatMul of a batch': {
    float: model`opset 25 (float32[2,5,13] x) => (float32[2,5,7] y) {
      w: float32[2,13,7] = random(seed=8, scale=0.2)
      y = MatMul(x, w) }`,
    x: [2, 5, 13],
  },
  LSTM: {
    float: model`opset 25 (float32[3,2,5] x) => (float32[3,1,2,4] y) {
      w: float32[1,16,5] = random(seed=9, scale=0.2)
      r: float32[1,16,4] = random(seed=10, scale=0.2)
      y = LSTM<hidden_size=4>(x, w, r) }`,
    x: [3, 2, 5],
  },
  'Gather, where a rule asks for it': {
    float: model`opset 25 (int64[3] x) => (float32[3,30] y) {
      w: float32[40,30] = random(seed=11, scale=0.2)
      y = Gather(w, x) }`,
    x: [3],
  },
};

const RULES = [{ match: { opType: 'Gather' } }];

async function check(float: Model, shape: number[], settings: Partial<PlanSettings>): Promise<void> {
  const nodes = RULES.map((rule) => ({ ...rule, weights: settings.weights ?? '' }));
  const rules = float.graph.nodes.some((n) => n.opType === 'Gather') ? { nodes } : {};
  const plan = await planFixed(float, { activations: 'float', ...settings, ...rules });
  const solved = roundToNearest(float.graph, plan, 'mse');
  const weight = solved.get('w')!;
  const quantization = plan.weights.w!;
  const { dims } = float.graph.initializers.get('w')!;
  const dtype = float.graph.nodes.some((n) => n.opType === 'Gather') ? 'int64' : 'float32';
  const expected = dequantize(
    solvedFormat(quantization, weight),
    weight,
    groupingOf(quantization.granularity, dims),
  );
  const quantized = emitQdq(float, plan, solved);
  for (const optimization of ['none', 'all'] as const) {
    const session = await openSession(withOutputs(quantized, ['w_dequantized'], true), { optimization });
    const actual = (await session.run({ x: tensor(dtype, shape) })).get('w_dequantized')!;
    await session.release();
    expect(actual.dims).toEqual(dims);
    expect(toFloat32(actual)).toEqual(expected);
  }
}

describe.each(Object.entries(LAYERS))('%s', (_, { float, x }) => {
  it.each([
    ['vector4d2', 'channel'],
    ['vector8d4', 'tensor'],
    ['vector3d3', 'channel'],
    ['vector2d8', 'channel'],
    ['vector4d4', { block: 2 }],
  ] as const)('%s by %j', async (weights, granularity) => {
    await check(float, x, { weights, granularity });
  });
});

it('stores one code for several weights, and words in bytes', async () => {
  const { float } = LAYERS['Conv, rows that vectors fill']!;
  const plan = await planFixed(float, { weights: 'vector4d4', activations: 'float' });
  const { initializers } = emitQdq(float, plan, roundToNearest(float.graph, plan, 'mse')).graph;
  expect(initializers.get('w_quantized')).toMatchObject({ dtype: 'uint4', dims: [6, 9] });
  expect(initializers.get('w_words')).toMatchObject({ dtype: 'int8', dims: [16, 4] });
  const codes = new Set(Array.from(loadTensor(initializers.get('w_quantized')!).data as Uint8Array));
  expect(codes.size).toBeGreaterThan(8);
});

it.each(['uint8', 'dynamic'])('is no integer to kernels beside activations in %s', async (activations) => {
  const { float, x: shape } = LAYERS['Conv, rows that vectors fill']!;
  const plan = await planFixed(float, { weights: 'vector4d2', activations });
  const quantized = emitQdq(float, plan, roundToNearest(float.graph, plan, 'mse'));
  const x = tensor(
    'float32',
    shape,
    Float32Array.from({ length: shape.reduce((a, b) => a * b) }, (_, i) => Math.sin(i)),
  );
  const results: Float32Array[] = [];
  for (const optimization of ['none', 'all'] as const) {
    const session = await openSession(quantized, { optimization });
    results.push(toFloat32((await session.run({ x })).get('y')!));
    await session.release();
  }
  expect(results[1]).toBeAllclose(results[0]!, { atol: 1e-5, rtol: 1e-5 });
  expect(await auditKernels(quantized)).toMatchObject({ integer: 0 });
});

it('has no vectors for activations', async () => {
  const { float } = LAYERS['Gemm']!;
  await expect(planFixed(float, { weights: 'int8', activations: 'vector4d2' })).rejects.toMatchObject({
    code: 'E_FORMAT',
    message: expect.stringMatching(/'x'.*vector4d2.*several weights/) as string,
  });
});
