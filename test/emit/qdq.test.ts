/** QDQ output: what is written, and that it computes what the plan says. */
import { describe, expect, it } from 'vitest';
import { createRng } from '../../src/core/index.js';
import { emitQdq } from '../../src/emit/index.js';
import { auditKernels, openSession } from '../../src/engine/index.js';
import { everyConstant, everyNode, loadTensor, type Model } from '../../src/onnx/index.js';
import { roundToNearest } from '../../src/solve/round-to-nearest.js';
import { errorSums, sqnr, tensor, toFloat32, type Tensor } from '../../src/tensor/index.js';
import { model } from '../helpers/model.js';
import { planFixed, quantizeFixed } from '../helpers/quantized.js';

const residual = model`
  opset 17
  (float32[N,4,8,8] x) => (float32[N,3] y) {
    w1: float32[4,4,3,3] = random(seed=1, scale=0.2)
    b1: float32[4] = random(seed=2, scale=0.5)
    w2: float32[3,4] = random(seed=3, scale=0.5)
    b2: float32[3] = random(seed=4, scale=0.5)
    c = Conv<pads=[1,1,1,1]>(x, w1, b1)
    s = Add(c, x)
    r = Relu(s)
    g = GlobalAveragePool(r)
    f = Flatten(g)
    y = Gemm<transB=1>(f, w2, b2)
  }`;

function input(dims: number[], seed = 7): Tensor {
  const rng = createRng(seed);
  const size = dims.reduce((a, b) => a * b, 1);
  return tensor(
    'float32',
    dims,
    Float32Array.from({ length: size }, () => rng.normal()),
  );
}

async function run(m: Model, x: Tensor): Promise<Map<string, Tensor>> {
  const session = await openSession(m);
  const outputs = await session.run({ x });
  await session.release();
  return outputs;
}

async function sqnrAgainst(m: Model, q: Model, x: Tensor, output = 'y'): Promise<number> {
  const [a, b] = [await run(m, x), await run(q, x)].map((r) => toFloat32(r.get(output) as Tensor));
  return sqnr(errorSums(a ?? [], b ?? []));
}

describe('emitQdq', () => {
  it('runs every weighted node on integers and stays close to float', async () => {
    const quantized = await quantizeFixed(residual);
    const audit = await auditKernels(quantized);
    expect(audit).toMatchObject({ integer: 2, float: 0 });
    expect(await sqnrAgainst(residual, quantized, input([4, 4, 8, 8]))).toBeGreaterThan(25);
  });

  it.each(['nf4', 'power4', 'codebook4', 'codebook2', 'mxfp4', 'bf16'])(
    'keeps the runtime from rounding weights in %s to bytes beside integer activations',
    async (weights) => {
      const float = { ...residual, opsets: new Map([['', 25]]) };
      const plan = await planFixed(float, { weights });
      const quantized = emitQdq(float, plan, roundToNearest(float.graph, plan, 'mse'));
      const x = input([8, 4, 8, 8]);
      const results: Float32Array[] = [];
      for (const optimization of ['none', 'all'] as const) {
        const session = await openSession(quantized, { optimization });
        results.push(toFloat32((await session.run({ x })).get('y') as Tensor));
        await session.release();
      }
      expect(sqnr(errorSums(results[0] ?? [], results[1] ?? []))).toBeGreaterThan(50);
      expect(await auditKernels(quantized)).toMatchObject({ integer: 0, float: 2 });
    },
  );

  it('gives the runtime what plain arithmetic gives: optimized and unoptimized runs agree to one step', async () => {
    const quantized = await quantizeFixed(residual);
    const x = input([2, 4, 8, 8]);
    const results: Float32Array[] = [];
    for (const optimization of ['none', 'all'] as const) {
      const session = await openSession(quantized, { optimization });
      results.push(toFloat32((await session.run({ x })).get('y') as Tensor));
    }
    expect(results[1]).toBeAllclose(results[0] ?? [], { atol: 8 / 255, rtol: 0 });
  });

  it('stores weights in one byte and biases as int32 at the scale of the accumulator', async () => {
    const { graph } = await quantizeFixed(residual);
    const stored = (name: string): Tensor =>
      loadTensor(graph.initializers.get(name) ?? { dtype: undefined, dims: [], source: { kind: 'opaque' } });
    expect(stored('w1_quantized').dtype).toBe('int8');
    expect(graph.initializers.has('w1')).toBe(false);
    expect(stored('Conv_c_bias_quantized').dtype).toBe('int32');
    const [sx] = toFloat32(stored('x_scale'));
    const sw = toFloat32(stored('w1_scale'));
    expect(toFloat32(stored('Conv_c_bias_scale'))).toBeAllclose(
      Array.from(sw, (s) => s * (sx ?? 0)),
      { atol: 0, rtol: 1e-7 },
    );
  });

  it('keeps the names of graph inputs and outputs when an output is quantized', async () => {
    const m = model`
      opset 17
      (float32[N,4,8,8] x) => (float32[N,4,8,8] y) {
        w: float32[4,4,1,1] = random(seed=1, scale=0.2)
        y = Conv(x, w)
      }`;
    const quantized = await quantizeFixed(m);
    expect(quantized.graph.outputs.map((o) => o.name)).toEqual(['y']);
    expect(await sqnrAgainst(m, quantized, input([1, 4, 8, 8]))).toBeGreaterThan(25);
  });

  it('lets an excluded node read the float weight it shares with a quantized one', async () => {
    const m = model`
      opset 17
      (float32[N,4] x) => (float32[N,4] y, float32[N,4] z) {
        w: float32[4,4] = random(seed=1, scale=0.2)
        y = MatMul(x, w)
        z = MatMul(x, w)
      }`;
    const quantized = await quantizeFixed(m, { nodes: [{ match: { node: 'MatMul_z' }, quantize: false }] });
    expect(quantized.graph.initializers.has('w')).toBe(true);
    expect(await sqnrAgainst(m, quantized, input([3, 4]), 'z')).toBe(Infinity);
    expect(await sqnrAgainst(m, quantized, input([3, 4]), 'y')).toBeLessThan(60);
  });

  it('writes 16-bit activations beside 8-bit ones of the same value', async () => {
    const m = model`
      opset 21
      (float32[N,4] x) => (float32[N,4] y, float32[N,4] z) {
        w: float32[4,4] = random(seed=1, scale=0.2)
        v: float32[4,4] = random(seed=2, scale=0.2)
        y = MatMul(x, w)
        z = MatMul(x, v)
      }`;
    const settings = { weights: 'int16', nodes: [{ match: { node: 'MatMul_z' }, activations: 'uint16' }] };
    const quantized = await quantizeFixed(m, settings);
    expect(await sqnrAgainst(m, quantized, input([64, 4]), 'z')).toBeGreaterThan(70);
    expect(await sqnrAgainst(m, quantized, input([64, 4]), 'y')).toBeLessThan(50);
  });

  it('clips where the grid is narrower than its element type', async () => {
    const quantized = await quantizeFixed(residual, { activations: 'uint6', target: 'generic' });
    expect(quantized.graph.nodes.some((n) => n.opType === 'Clip')).toBe(true);
    const plain = await quantizeFixed(residual, { activations: 'uint8', target: 'generic' });
    expect(plain.graph.nodes.some((n) => n.opType === 'Clip')).toBe(false);
  });

  it('raises the weight scale of a dead channel so that its bias fits into int32', async () => {
    const m = model`
      opset 17
      (float32[N,1] x) => (float32[N,2] y) {
        w: float32[2,1] = {1, 1e-34}
        b: float32[2] = {0.5, 0.25}
        y = Gemm<transB=1>(x, w, b)
      }`;
    const plan = await planFixed(m);
    const solved = roundToNearest(m.graph, plan, 'range');
    expect(solved.get('w')?.scale[1]).toBeGreaterThan(1e-12);
    const quantized = emitQdq(m, plan, solved);
    const y = toFloat32((await run(quantized, input([5, 1]))).get('y') as Tensor);
    expect(y[1]).toBeCloseTo(0.25, 6);
  });
});

describe('weight formats', () => {
  const layer = model`
    opset 21
    (float32[N,64] x) => (float32[N,16] y) {
      w: float32[64,16] = random(seed=1, scale=0.2)
      y = MatMul(x, w)
    }`;

  it.each([
    ['int8', 35],
    ['int4', 12],
    ['uint4', 12],
    ['int6', 25],
    ['e4m3', 25],
    ['pot8k2', 20],
    ['nf4', 12],
  ])('writes %s so that the runtime computes with it', async (weights, least) => {
    const quantized = await quantizeFixed(layer, { weights, activations: 'float' });
    const db = await sqnrAgainst(layer, quantized, input([32, 64]));
    expect(db).toBeGreaterThan(least);
    expect(db).toBeLessThan(60);
  });

  it('writes one scale for every block of the reduction axis', async () => {
    const settings = { weights: 'int4', activations: 'float', granularity: { block: 16 } } as const;
    const quantized = await quantizeFixed(layer, settings);
    expect(quantized.graph.initializers.get('w_scale')?.dims).toEqual([4, 16]);
    const whole = await quantizeFixed(layer, { ...settings, granularity: 'channel' });
    const x = input([32, 64]);
    expect(await sqnrAgainst(layer, quantized, x)).toBeGreaterThan(await sqnrAgainst(layer, whole, x));
  });
});

describe('activations that integer fusions do not know', () => {
  /** Relu in front of a quantizer, layers of all kinds, a product of two activations, and values that are only moved. */
  const mixed = model`
    opset 25
    (float32[N,4,8,8] x) => (float32[N,8] y) {
      w0: float32[8,4,3,3] = random(seed=1, scale=0.03)
      w1: float32[8,8] = random(seed=2, scale=0.3)
      w2: float32[8,64] = random(seed=3, scale=0.2)
      rows: int64[3] = {0, 8, 64}
      flat: int64[2] = {0, 64}
      c = Conv<pads=[1,1,1,1]>(x, w0)
      r = Relu(c)
      s = Add(r, c)
      t = Relu(s)
      a = Reshape(t, rows)
      b = Transpose<perm=[0,2,1]>(a)
      p = MatMul(a, b)
      q = MatMul(p, w1)
      f = Reshape(q, flat)
      y = Gemm<transB=1>(f, w2)
    }`;

  it.each([
    ['e4m3', 'e4m3'],
    ['e5m2', 'e5m2'],
    ['int8', 'e4m3'],
    ['int4', 'e5m2fnuz'],
    ['e4m3', 'uint8'],
    ['mxfp8', 'uint8'],
    ['mxint8', 'uint8'],
    ['bfp16', 'uint8'],
    ['int2', 'uint8'],
    ['int8', 'uint4'],
    ['int8', 'uint5'],
  ])('reach the runtime as written: weights in %s, activations in %s', async (weights, activations) => {
    const quantized = await quantizeFixed(mixed, { weights, activations });
    expect(quantized.graph.nodes.filter((n) => n.opType === 'QuantizeLinear').length).toBeGreaterThan(4);
    const results: Float32Array[] = [];
    for (const optimization of ['none', 'all'] as const) {
      const session = await openSession(quantized, { optimization });
      const outputs = await session.run({ x: input([16, 4, 8, 8]) });
      results.push(toFloat32(outputs.get('y')!));
      await session.release();
    }
    const [plain = new Float32Array(), optimized = new Float32Array()] = results;
    expect(sqnr(errorSums(plain, optimized))).toBeGreaterThan(25);
    expect(new Set(plain).size).toBeGreaterThan(30);
  });
});

const twoBits = {
  Conv: model`
    opset 25
    (float32[N,4,8,8] x) => (float32[N,4,8,8] y) {
      w: float32[4,4,3,3] = random(seed=1, scale=0.3)
      b: float32[4] = random(seed=2, scale=0.3)
      c = Conv<pads=[1,1,1,1]>(x, w, b)
      y = Relu(c)
    }`,
  Gemm: model`
    opset 25
    (float32[N,64] x) => (float32[N,8] y) {
      w: float32[8,64] = random(seed=1, scale=0.3)
      b: float32[8] = random(seed=2, scale=0.3)
      y = Gemm<transB=1>(x, w, b)
    }`,
  MatMul: model`
    opset 25
    (float32[N,64] x) => (float32[N,8] y) {
      w: float32[64,8] = random(seed=1, scale=0.3)
      y = MatMul(x, w)
    }`,
};

it.each([
  ['Conv', [2, 4, 8, 8]],
  ['Gemm', [8, 64]],
  ['MatMul', [8, 64]],
] as const)(
  'keeps a 2-bit %s with quantized activations from a fusion the runtime cannot run',
  async (op, dims) => {
    const m = twoBits[op];
    const quantized = await quantizeFixed(m, { weights: 'int2' });
    expect(await auditKernels(quantized)).toMatchObject({
      float: 1,
      nodes: [{ why: 'onnxruntime has no integer kernel for int2 operands' }],
    });
    const db = await sqnrAgainst(m, quantized, input([...dims]));
    expect(db).toBeGreaterThan(2);
    expect(db).toBeLessThan(20);
  },
);

it('keeps a 2-bit MatMul whose rows do not fill bytes from a fusion that computes something else', async () => {
  const m = model`
    opset 25
    (float32[N,64] x) => (float32[N,10] y) {
      w: float32[64,10] = random(seed=1, scale=0.3)
      y = MatMul(x, w)
    }`;
  const quantized = await quantizeFixed(m, { weights: 'int2', activations: 'float' });
  expect(await sqnrAgainst(m, quantized, input([8, 64]))).toBeGreaterThan(2);
});

describe('dynamic quantization', () => {
  const dense = model`
    opset 17
    (float32[N,8] x) => (float32[N,3] y, float32[N,3] z) {
      w: float32[3,8] = random(seed=1, scale=0.4)
      b: float32[3] = random(seed=2, scale=0.4)
      v: float32[8,3] = random(seed=3, scale=0.4)
      y = Gemm<transB=1>(x, w, b)
      z = MatMul(x, v)
    }`;

  it('quantizes a shared input once and multiplies integers', async () => {
    const quantized = await quantizeFixed(dense, { activations: 'dynamic' });
    const operators = quantized.graph.nodes.map((n) => n.opType);
    expect(operators.filter((op) => op === 'DynamicQuantizeLinear')).toHaveLength(1);
    expect(operators.filter((op) => op === 'MatMulInteger')).toHaveLength(2);
    for (const output of ['y', 'z'])
      expect(await sqnrAgainst(dense, quantized, input([16, 8]), output)).toBeGreaterThan(30);
    expect(await auditKernels(quantized)).toMatchObject({ integer: 2, float: 0 });
  });

  it('serves convolutions with groups and biases', async () => {
    const m = model`
      opset 17
      (float32[N,4,8,8] x) => (float32[N,8,4,4] y) {
        w: float32[8,2,3,3] = random(seed=1, scale=0.4)
        b: float32[8] = random(seed=2, scale=0.4)
        y = Conv<pads=[1,1,1,1], strides=[2,2], group=2>(x, w, b)
      }`;
    const quantized = await quantizeFixed(m, { activations: 'dynamic' });
    expect(quantized.graph.nodes.some((n) => n.opType === 'ConvInteger')).toBe(true);
    expect(await sqnrAgainst(m, quantized, input([2, 4, 8, 8]))).toBeGreaterThan(30);
  });

  it('writes LSTM layers as the operator that quantizes inside', async () => {
    const m = model`
      opset 17
      (float32[5,2,6] x) => (float32[5,1,2,4] y) {
        w: float32[1,16,6] = random(seed=1, scale=0.5)
        r: float32[1,16,4] = random(seed=2, scale=0.5)
        b: float32[1,32] = random(seed=3, scale=0.5)
        y = LSTM<hidden_size=4>(x, w, r, b)
      }`;
    const quantized = await quantizeFixed(m);
    expect(quantized.graph.nodes.map((n) => n.opType)).toEqual(['DynamicQuantizeLSTM']);
    expect(await sqnrAgainst(m, quantized, input([5, 2, 6]))).toBeGreaterThan(25);
  });
});

describe('movement of codes', () => {
  const shortcut = (value: string): Model => model`
    opset 17
    (float32[N,4,8,8] x) => (float32[N,8,8,8] y) {
      w: float32[4,4,1,1] = random(seed=1, scale=0.4)
      u: float32[8,4,1,1] = random(seed=2, scale=0.4)
      v: float32[8,8,1,1] = random(seed=3, scale=0.4)
      pads: int64[8] = {0, 2, 0, 0, 0, 2, 0, 0}
      value: float32 = ${value}
      a = Conv(x, w)
      p = Pad(a, pads, value)
      b = Conv(a, u)
      s = Add(p, b)
      y = Conv(s, v)
    }`;

  it('pads codes with the zero point', async () => {
    const quantized = await quantizeFixed(shortcut('0'));
    const pad = quantized.graph.nodes.find((n) => n.opType === 'Pad');
    expect(pad?.inputs).toEqual(['a_quantized', 'pads', 'a_zero_point']);
    expect(await sqnrAgainst(shortcut('0'), quantized, input([2, 4, 8, 8]))).toBeGreaterThan(20);
  });

  it('leaves a Pad with another value float', async () => {
    const plan = await planFixed(shortcut('0.3'));
    expect(plan.nodes.Pad_p).toMatchObject({ decision: 'float', why: 'it pads with a value other than 0' });
  });
});

describe('subgraphs', () => {
  const branches = model`
    opset 17
    (float32[N,8] x, bool[] flag) => (float32[N,4] y) {
      w: float32[8,8] = random(seed=1, scale=0.4)
      a = MatMul(x, w)
      r = Relu(a)
      c = MatMul(r, w)
      y = If<
        then_branch = () => (float32[N,4] t) {
          v: float32[8,4] = random(seed=2, scale=0.4)
          t = MatMul(c, v)
        },
        else_branch = () => (float32[N,4] e) {
          u: float32[4,8] = random(seed=3, scale=0.4)
          b: float32[4] = random(seed=4, scale=0.4)
          e = Gemm<transB=1>(c, u, b)
        }
      >(flag)
    }`;

  it('quantizes weights inside branches, activations there at run time', async () => {
    const quantized = await quantizeFixed(branches);
    const inner = everyNode(quantized.graph).filter((n) => !quantized.graph.nodes.includes(n));
    expect(inner.map((n) => n.opType)).toEqual(
      expect.arrayContaining(['MatMulInteger', 'DynamicQuantizeLinear']),
    );
    const stored = everyConstant(quantized.graph);
    expect([stored.get('v_quantized')?.dtype, stored.get('u_quantized')?.dtype]).toEqual(['int8', 'int8']);
    expect(stored.has('v')).toBe(false);
    for (const flag of [0, 1]) {
      const feeds = { x: input([4, 8]), flag: tensor('bool', [], [flag]) };
      const [a, b] = await Promise.all(
        [branches, quantized].map(async (m) =>
          toFloat32((await (await openSession(m)).run(feeds)).get('y') as Tensor),
        ),
      );
      expect(sqnr(errorSums(a ?? [], b ?? []))).toBeGreaterThan(25);
    }
  });

  it('audits kernels inside branches', async () => {
    const audit = await auditKernels(await quantizeFixed(branches));
    expect(audit.nodes.map((n) => [n.name, n.kernel])).toEqual(
      expect.arrayContaining([
        ['MatMul_t', 'integer'],
        ['Gemm_e', 'integer'],
      ]),
    );
  });

  it('says why a node inside a branch is not quantized statically', async () => {
    const plan = await planFixed(branches);
    expect(plan.nodes.MatMul_t).toMatchObject({ decision: 'dynamic' });
    expect(plan.nodes.MatMul_t?.why).toContain('inside a subgraph');
  });
});
