/** Integer operators in place of QDQ: which ones are written, and that they compute what QDQ computes. */
import { describe, expect, it } from 'vitest';
import { emitQOperator } from '../../../src/emit/qoperator/index.js';
import { everyNode, loadTensor, type Model } from '../../../src/onnx/index.js';
import { toFloat32 } from '../../../src/tensor/index.js';
import { model, parseText } from '../../helpers/model.js';
import { emitQdq } from '../../../src/emit/index.js';
import { type PlanSettings } from '../../../src/plan/index.js';
import { roundToNearest } from '../../../src/solve/index.js';
import { quantizeFixed } from '../../helpers/quantized.js';
import { planObserved, randomInput, runModel } from '../integer/integer-model.js';

interface Case {
  readonly float: Model;
  readonly dims?: readonly number[];
  /** Operators that must be in the result. */
  readonly operators: readonly string[];
}

const CASES: Readonly<Record<string, Case>> = {
  'a residual network': {
    float: model`opset 17 (float32[N,4,8,8] x) => (y) {
      w1: float32[4,4,3,3] = random(seed=1, scale=0.2)
      b1: float32[4] = random(seed=2, scale=0.5)
      w2: float32[3,4] = random(seed=3, scale=0.5)
      b2: float32[3] = random(seed=4, scale=0.5)
      c = Conv<pads=[1,1,1,1]>(x, w1, b1)
      s = Add(c, x)
      r = Relu(s)
      m = MaxPool<kernel_shape=[2,2], strides=[2,2]>(r)
      a = AveragePool<kernel_shape=[2,2], strides=[2,2]>(m)
      g = GlobalAveragePool(a)
      f = Flatten(g)
      y = Gemm<transB=1>(f, w2, b2) }`,
    operators: [
      'QLinearConv',
      'QLinearAdd',
      'MaxPool',
      'QLinearAveragePool',
      'QLinearGlobalAveragePool',
      'Flatten',
      'QGemm',
    ],
  },
  'element-wise operators and functions': {
    float: model`opset 17 (float32[N,4,8,8] x) => (y) {
      w: float32[8,8,1,1] = random(seed=1, scale=0.3)
      k: float32[1,4,1,1] = random(seed=2)
      s = Sigmoid(x)
      m = Mul(s, x)
      q = Mul(m, k)
      l = LeakyRelu<alpha=0.2>(q)
      j = Concat<axis=1>(l, m)
      c = Conv(j, w)
      y = Softmax<axis=1>(c) }`,
    operators: ['QLinearSigmoid', 'QLinearMul', 'QLinearLeakyRelu', 'QLinearConcat', 'QLinearSoftmax'],
  },
  'matrix products': {
    float: model`opset 17 (float32[N,6,16] x) => (y, z) {
      w: float32[16,8] = random(seed=1, scale=0.3)
      v: float32[8,5] = random(seed=2, scale=0.3)
      q = MatMul(x, w)
      t = Transpose<perm=[0,2,1]>(q)
      s = MatMul(q, t)
      y = Softmax(s)
      z = MatMul(q, v) }`,
    dims: [2, 6, 16],
    operators: ['QLinearMatMul', 'Transpose', 'QLinearSoftmax'],
  },
};

/** Scale of an output: the constant its DequantizeLinear reads. */
function stepOf({ graph }: Model, output: string): number {
  const scale = graph.nodes.find((n) => n.outputs.includes(output))?.inputs[1] ?? '';
  return toFloat32(loadTensor(graph.initializers.get(scale)!, scale))[0]!;
}

/** The QDQ model with the ranges of one batch. */
async function quantizeObserved(
  float: Model,
  dims: readonly number[],
  settings: Partial<PlanSettings>,
): Promise<Model> {
  const plan = await planObserved(float, { x: randomInput(dims) }, { target: 'generic', ...settings });
  return emitQdq(float, plan, roundToNearest(float.graph, plan, 'range'));
}

describe.each(Object.entries(CASES))('%s', (_, { float, dims = [2, 4, 8, 8], operators }) => {
  it.each(['uint8', 'int8'])('with %s activations gives what QDQ gives, to one step', async (activations) => {
    const qdq = await quantizeObserved(float, dims, { activations });
    const integer = emitQOperator(qdq);
    const x = randomInput(dims);
    const expected = await runModel(qdq, { x }, 'none');
    for (const optimization of ['none', 'all'] as const) {
      const actual = await runModel(integer, { x }, optimization);
      for (const [name, y] of actual)
        expect(y).toBeAllclose(expected.get(name)!, { atol: 1.01 * stepOf(qdq, name), rtol: 0 });
    }
  });

  it('leaves no float operator', async () => {
    const integer = emitQOperator(await quantizeObserved(float, dims, {}));
    const types = everyNode(integer.graph).map((n) => n.opType);
    for (const operator of operators) expect(types).toContain(operator);
    const outside = types.filter((t) => t === 'QuantizeLinear' || t === 'DequantizeLinear');
    expect(outside.length).toBe(float.graph.inputs.length + float.graph.outputs.length);
    for (const floating of ['Conv', 'Gemm', 'MatMul', 'Add', 'Mul', 'Relu', 'Softmax', 'Sigmoid'])
      expect(types).not.toContain(floating);
  });
});

describe('emitQOperator', () => {
  it('writes MatMulInteger where the result stays float', async () => {
    const float = model`opset 17 (float32[N,6,16] x) => (y) {
      w: float32[16,8] = random(seed=1, scale=0.3)
      m = MatMul(x, w)
      y = Exp(m) }`;
    const integer = emitQOperator(await quantizeFixed(float));
    const types = integer.graph.nodes.map((n) => n.opType);
    expect(types).toEqual(['QuantizeLinear', 'MatMulInteger', 'Cast', 'Mul', 'Mul', 'Exp']);
    const x = randomInput([2, 6, 16]);
    const [a, b] = [await runModel(float, { x }), await runModel(integer, { x })];
    expect(b.get('y')).toBeAllclose(a.get('y')!, { atol: 0.05, rtol: 0.05 });
  });

  it.each([
    ['bias and groups', '(float32[N,4,8,8] x)', 'float32[6,2,3,3]', 'pads=[1,1,1,1], group=2', [2, 4, 8, 8]],
    ['one spatial axis', '(float32[N,4,9] x)', 'float32[6,4,3]', 'strides=[2]', [2, 4, 9]],
  ])('writes ConvInteger where the result stays float: %s', async (_, input, weight, attributes, dims) => {
    const float = parseText(`opset 21 ${input} => (y) {
      w: ${weight} = random(seed=1, scale=0.3)
      b: float32[6] = random(seed=2, scale=0.5)
      c = Conv<${attributes}>(x, w, b)
      y = Exp(c) }`);
    const plan = await planObserved(float, { x: randomInput(dims) }, { target: 'generic' });
    // Nobody asks for the result as codes.
    const [node] = Object.values(plan.nodes);
    const open = { ...plan, nodes: { [node!.node]: { ...node!, outputs: [null] } } };
    const qdq = emitQdq(float, open, roundToNearest(float.graph, open, 'range'));
    const integer = emitQOperator(qdq);
    expect(integer.graph.nodes.map((n) => n.opType)).toEqual([
      'QuantizeLinear',
      'ConvInteger',
      'Add',
      'Cast',
      'Mul',
      'Exp',
    ]);
    const x = randomInput(dims, 3);
    const [a, b] = [await runModel(qdq, { x }, 'none'), await runModel(integer, { x })];
    expect(b.get('y')).toBeAllclose(a.get('y')!, { atol: 0, rtol: 1e-5 });
  });

  it('keeps a Relu that the grid does not contain', async () => {
    const float = model`opset 17 (float32[N,4,8,8] x) => (y) {
      w: float32[4,4,1,1] = random(seed=1, scale=0.3)
      c = Conv(x, w)
      y = Relu(c) }`;
    const qdq = await quantizeFixed(float, { target: 'generic', activations: 'int8-narrow' });
    const types = emitQOperator(qdq).graph.nodes.map((n) => n.opType);
    expect(types).toContain('Relu');
    const x = randomInput([1, 4, 8, 8]);
    const y = (await runModel(emitQOperator(qdq), { x })).get('y')!;
    expect(Math.min(...y)).toBe(0);
  });

  it('leaves 16-bit and 4-bit operands as they are', async () => {
    const float = model`opset 21 (float32[N,4,8,8] x) => (y) {
      w: float32[4,4,1,1] = random(seed=1, scale=0.3)
      y = Conv(x, w) }`;
    for (const settings of [{ activations: 'uint16' }, { weights: 'int4' }]) {
      const qdq = await quantizeFixed(float, { target: 'generic', ...settings });
      expect(emitQOperator(qdq).graph.nodes.map((n) => n.opType)).toContain('Conv');
    }
  });

  it('refuses opsets below 13', () => {
    const old = model`opset 11 (float32[N,4] x) => (y) { y = Relu(x) }`;
    expect(() => emitQOperator(old)).toThrow(/opset 13/);
  });
});
