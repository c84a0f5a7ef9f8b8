import { describe, expect, it } from 'vitest';
import { formatModel } from '../../../src/onnx/index.js';
import { foldAffineMaps } from '../../../src/rewrite/rules/fold-affine.js';
import { expectEquivalent, expectRewrite } from '../../helpers/equivalence.js';
import { model, parseText } from '../../helpers/model.js';
import { applying, refusals, run } from '../passes.js';

const apply = applying(foldAffineMaps);

/** Both sides add up to 100 float32 products of order 1 in another order or with other roundings: ~100 · 2⁻²⁴. */
const ROUNDING = { atol: 1e-5, rtol: 1e-5 };

const BATCH_NORM = (channels: number): string => `
    gamma: float32[${channels}] = random(mean=1, scale=0.3)
    beta: float32[${channels}] = random()
    mean: float32[${channels}] = random()
    variance: float32[${channels}] = random(low=0.5, high=2)`;

describe('BatchNormalization', () => {
  it('goes into a Conv with bias', () =>
    expectRewrite({
      rewrite: apply,
      before: parseText(`opset 17 (float32[N,2,5,5] x) => (float32[N,3,5,5] y) {
        w: float32[3,2,3,3] = random()
        b: float32[3] = random()
        ${BATCH_NORM(3)}
        c = [conv] Conv<pads=[1, 1, 1, 1]>(x, w, b)
        y = [bn] BatchNormalization<epsilon=0.001>(c, gamma, beta, mean, variance)
      }`),
      after: `
        opset 17
        (float32[N,2,5,5] x) => (float32[N,3,5,5] y) {
          w_folded: float32[3,2,3,3]
          b_folded: float32[3]
          y = Conv<pads=[1, 1, 1, 1]>(x, w_folded, b_folded)
        }`,
      text: { elements: 1 },
      tolerance: ROUNDING,
    }));

  it.each([1, 2, 4])('goes into a ConvTranspose with %i groups', async (groups) => {
    const before = parseText(`opset 17 (float32[N,4,3,3] x) => (float32[N,8,6,6] y) {
      w: float32[4,${8 / groups},2,2] = random()
      ${BATCH_NORM(8)}
      c = [deconv] ConvTranspose<group=${groups}, strides=[2, 2]>(x, w)
      y = [bn] BatchNormalization(c, gamma, beta, mean, variance)
    }`);
    const { model: after, changed } = await run(foldAffineMaps, before);
    expect(changed).toBe(1);
    expect(after.graph.nodes.map((n) => n.opType)).toEqual(['ConvTranspose']);
    await expectEquivalent(after, before, ROUNDING);
  });

  it.each([
    ['', 0],
    ['beta=0.5', 1],
    ['alpha=2.0, beta=0.25', 1],
  ])('goes into a Gemm<%s> with transB=%i', async (attributes, transB) => {
    const before = parseText(`opset 17 (float32[N,6] x) => (float32[N,4] y) {
      w: float32[${transB === 1 ? '4,6' : '6,4'}] = random()
      c: float32[1,4] = random()
      ${BATCH_NORM(4)}
      g = [gemm] Gemm<transB=${transB}${attributes === '' ? '' : `, ${attributes}`}>(x, w, c)
      y = [bn] BatchNormalization(g, gamma, beta, mean, variance)
    }`);
    const { model: after, changed } = await run(foldAffineMaps, before);
    expect(changed).toBe(1);
    expect(after.graph.nodes.map((n) => n.opType)).toEqual(['Gemm']);
    await expectEquivalent(after, before, ROUNDING);
  });

  it('goes into a MatMul of matrices, its shift behind it', () =>
    expectRewrite({
      rewrite: apply,
      before: parseText(`opset 17 (float32[N,6] x) => (float32[N,4] y) {
        w: float32[6,4] = random()
        ${BATCH_NORM(4)}
        m = [product] MatMul(x, w)
        y = [bn] BatchNormalization(m, gamma, beta, mean, variance)
      }`),
      after: `
        opset 17
        (float32[N,6] x) => (float32[N,4] y) {
          w_folded: float32[6,4]
          product_shift: float32[4]
          y_product = MatMul(x, w_folded)
          y = Add(y_product, product_shift)
        }`,
      text: { elements: 1 },
      tolerance: ROUNDING,
    }));

  it('is left where axis 1 is not the channel axis of the layer', async () => {
    const before = parseText(`opset 17 (float32[N,4,6] x) => (float32[N,4,4] y) {
      w: float32[6,4] = random()
      ${BATCH_NORM(4)}
      m = [product] MatMul(x, w)
      y = [bn] BatchNormalization(m, gamma, beta, mean, variance)
    }`);
    expect(await refusals(foldAffineMaps, before)).toEqual([
      "BatchNormalization 'bn' stays: axis 1, which is normalized, is not the channel axis",
    ]);
  });

  it.each([
    [
      'the layer has another reader',
      'r = Relu(c)',
      ', float32[N,3,3,3] r',
      "'c' is also read by Relu 'Relu_r'",
    ],
    ['the value between is a graph output', '', ', float32[N,3,3,3] c', "'c' is a graph output"],
  ])('is left where %s', async (_, node, output, reason) => {
    const before = parseText(`opset 17 (float32[N,2,5,5] x) => (float32[N,3,3,3] y${output}) {
      w: float32[3,2,3,3] = random()
      ${BATCH_NORM(3)}
      c = [conv] Conv(x, w)
      ${node}
      y = [bn] BatchNormalization(c, gamma, beta, mean, variance)
    }`);
    expect(await refusals(foldAffineMaps, before)).toEqual([`BatchNormalization 'bn' stays: ${reason}`]);
  });

  it('is left where a parameter or the weight is not constant', async () => {
    const text = (inputs: string, w: string, mean: string): string => `opset 17
      (float32[N,2,5,5] x${inputs}) => (float32[N,3,3,3] y) {
        ${w}
        ${mean}
        g: float32[3] = full(value=1)
        c = [conv] Conv(x, w)
        y = [bn] BatchNormalization(c, g, g, mean, g)
      }`;
    const weight = 'w: float32[3,2,3,3] = random()';
    const mean = 'mean: float32[3] = random()';
    expect(await refusals(foldAffineMaps, parseText(text(', float32[3,2,3,3] w', '', mean)))).toEqual([
      "BatchNormalization 'bn' stays: 'w' is a graph input",
    ]);
    expect(await refusals(foldAffineMaps, parseText(text(', float32[3] mean', weight, '')))).toEqual([
      "BatchNormalization 'bn' stays: 'mean' is a graph input",
    ]);
  });

  it('is left where it would make weights that are not finite', async () => {
    const before = model`opset 17 (float32[N,1,2] x) => (float32[N,1,2] y) {
      w: float32[1,1,1] = {1e38}
      gamma: float32[1] = {100}
      zero: float32[1] = {0}
      one: float32[1] = {1}
      c = Conv(x, w)
      y = [bn] BatchNormalization(c, gamma, zero, zero, one)
    }`;
    expect(await refusals(foldAffineMaps, before)).toEqual([
      "BatchNormalization 'bn' stays: the folded weights would not be finite",
    ]);
  });

  it('folds a shared weight into a copy and leaves the other reader its own', () =>
    expectRewrite({
      rewrite: apply,
      before: parseText(`opset 17 (float32[N,3,5] x) => (float32[N,3,5] y, float32[N,3,5] z) {
        w: float32[3,3,1] = random()
        ${BATCH_NORM(3)}
        a = [first] Conv(x, w)
        y = [bn] BatchNormalization(a, gamma, beta, mean, variance)
        z = [second] Conv(x, w)
      }`),
      after: `
        opset 17
        (float32[N,3,5] x) => (float32[N,3,5] y, float32[N,3,5] z) {
          w: float32[3,3,1]
          w_folded: float32[3,3,1]
          first_bias_folded: float32[3]
          y = Conv(x, w_folded, first_bias_folded)
          z = Conv(x, w)
        }`,
      text: { elements: 1 },
      tolerance: ROUNDING,
    }));
});

describe('Add, Sub, Mul and Div by constants', () => {
  it('join a Conv one after the other', () =>
    expectRewrite({
      rewrite: apply,
      before: model`opset 17 (float32[N,2,4,4] x) => (float32[N,2,4,4] y) {
        w: float32[2,1,1,1] = {1, 2}
        two: float32 = 2
        shift: float32[2,1,1] = {10, 20}
        half: float32[1,2,1,1] = {0.5, 0.25}
        a = [conv] Conv<group=2>(x, w)
        b = Mul(two, a)
        c = Add(b, shift)
        d = Div(c, half)
        y = Sub(shift, d)
      }`,
      after: `
        opset 17
        (float32[N,2,4,4] x) => (float32[N,2,4,4] y) {
          w_folded_2: float32[2,1,1,1] = {-4, -16}
          conv_bias_folded_2: float32[2] = {-10, -60}
          y = Conv<group=2>(x, w_folded_2, conv_bias_folded_2)
        }`,
      tolerance: ROUNDING,
    }));

  it('scale a MatMul of any rank by column', () =>
    expectRewrite({
      rewrite: apply,
      before: model`opset 17 (float32[N,3,2] x) => (float32[N,3,2] y) {
        w: float32[2,2] = {1, 2, 3, 4}
        s: float32[2] = {10, 100}
        m = MatMul(x, w)
        y = Mul(m, s)
      }`,
      after: `
        opset 17
        (float32[N,3,2] x) => (float32[N,3,2] y) {
          w_folded: float32[2,2] = {10, 200, 30, 400}
          y = MatMul(x, w_folded)
        }`,
      tolerance: ROUNDING,
    }));

  it('do not join a MatMul as addition, nor a product of two activations', async () => {
    const before = model`opset 17 (float32[2,3] x) => (float32[2,2] y, float32[2,2] z) {
      w: float32[3,2] = random()
      b: float32[2] = random()
      half: float32 = 0.5
      m = MatMul(x, w)
      y = Add(m, b)
      t = Transpose<perm=[1, 0]>(x)
      s = MatMul(x, t)
      z = Mul(s, half)
    }`;
    expect(await refusals(foldAffineMaps, before)).toEqual([]);
  });

  it.each([
    ['a constant over positions', 'float32[1,2,4,4]', "'c' [1, 2, 4, 4] is not one number a channel"],
    ['a constant along another axis', 'float32[4]', "'c' [4] is not one number a channel"],
    [
      'a constant that adds an axis',
      'float32[1,1,1,1,1]',
      "'c' [1, 1, 1, 1, 1] has more axes than the layer's output",
    ],
  ])('leave %s', async (_, type, reason) => {
    const before = parseText(`opset 17 (float32[N,2,4,4] x) => (y) {
      w: float32[2,2,1,1] = random()
      c: ${type} = random()
      a = Conv(x, w)
      y = [add] Add(a, c)
    }`);
    expect(await refusals(foldAffineMaps, before)).toEqual([`Add 'add' stays: ${reason}`]);
  });

  it('leave a constant divided by the layer', async () => {
    const before = model`opset 17 (float32[N,2] x) => (float32[N,2] y) {
      w: float32[2,2] = random()
      one: float32 = 1
      g = Gemm(x, w)
      y = [div] Div(one, g)
    }`;
    expect(await refusals(foldAffineMaps, before)).toEqual(["Div 'div' stays: the value is the divisor"]);
  });
});

it('gives new values of a subgraph names that nothing around it has', async () => {
  const before =
    parseText(`opset 17 (float32[2,2,4] x, bool flag) => (float32[2,2,4] y, float32[2,2,4] w_folded) {
    w: float32[2,2,1] = random()
    two: float32 = 2
    w_folded = Neg(x)
    y = If<
      then_branch = () => (float32[2,2,4] a) { c = Conv(x, w) a = Mul(c, two) },
      else_branch = () => (float32[2,2,4] b) { b = Neg(x) }
    >(flag)
  }`);
  const { model: after } = await run(foldAffineMaps, before);
  expect(formatModel(after)).toContain('a = Conv(x, w_folded_1)');
  for (const seed of [1, 2, 3]) await expectEquivalent(after, before, ROUNDING, { seed });
});

it('works inside subgraphs, with weights from outside', async () => {
  const before = parseText(`opset 17 (float32[2,2,4] x, bool flag) => (float32[2,3,4] y) {
    w: float32[3,2,1] = random()
    ${BATCH_NORM(3)}
    y = If<
      then_branch = () => (float32[2,3,4] a) {
        c = [conv] Conv(x, w)
        a = BatchNormalization(c, gamma, beta, mean, variance)
      },
      else_branch = () => (float32[2,3,4] b) {
        b = [plain] Conv(x, w)
      }
    >(flag)
  }`);
  const { model: after, changed } = await run(foldAffineMaps, before);
  expect(changed).toBe(1);
  for (const seed of [1, 2, 3, 4]) await expectEquivalent(after, before, ROUNDING, { seed });
});
