import { describe, expect, it } from 'vitest';
import { foldScalarBefore } from '../../../src/rewrite/rules/fold-scalar-before.js';
import { expectEquivalent, expectRewrite } from '../../helpers/equivalence.js';
import { model, parseText } from '../../helpers/model.js';
import { applying, refusals, run } from '../passes.js';

const apply = applying(foldScalarBefore);

/** Sums of at most 20 float32 products of order 10 with other roundings: 20 · 10 · 2⁻²⁴ ≈ 1e-5. */
const ROUNDING = { atol: 2e-5, rtol: 1e-5 };

describe('a Conv', () => {
  it('takes scale and shift when it does not pad', () =>
    expectRewrite({
      rewrite: apply,
      before: model`opset 17 (float32[N,2,4,4] x) => (float32[N,1,4,4] y) {
        w: float32[1,2,1,1] = {1, 2}
        b: float32[1] = {5}
        a: float32[1] = {3}
        c: float32 = 10
        p = Mul(a, x)
        q = Add(p, c)
        y = Conv(q, w, b)
      }`,
      after: `
        opset 17
        (float32[N,2,4,4] x) => (float32[N,1,4,4] y) {
          w_folded: float32[1,2,1,1] = {3, 6}
          b_folded_1: float32[1] = {35}
          y = Conv(x, w_folded, b_folded_1)
        }`,
      tolerance: ROUNDING,
    }));

  it('takes the scale only when it pads, and the shift stays in front', () =>
    expectRewrite({
      rewrite: apply,
      before: model`opset 17 (float32[N,1,4,4] x) => (float32[N,1,4,4] y) {
        w: float32[1,1,3,3] = full(value=1)
        half: float32 = 0.5
        c: float32 = 10
        p = Mul(x, half)
        q = [shift] Add(p, c)
        y = Conv<pads=[1, 1, 1, 1]>(q, w)
      }`,
      after: `
        opset 17
        (float32[N,1,4,4] x) => (float32[N,1,4,4] y) {
          shift_shift: float32 = {20}
          w_folded: float32[1,1,3,3] = {0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5}
          x_shifted = Add(x, shift_shift)
          y = Conv<pads=[1, 1, 1, 1]>(x_shifted, w_folded)
        }`,
      text: { elements: 9 },
      tolerance: { atol: 1e-4, rtol: 1e-5 },
    }));

  it.each(['auto_pad="SAME_UPPER"', 'pads=[0, 1, 0, 0]'])('pads with %s', async (padding) => {
    const before = parseText(`opset 17 (float32[N,1,4,4] x) => (y) {
      w: float32[1,1,3,3] = random()
      c: float32 = 10
      q = Add(x, c)
      y = Conv<${padding}>(q, w)
    }`);
    expect(await refusals(foldScalarBefore, before)).toEqual([]);
  });
});

it.each([
  ['Gemm<alpha=2.0, beta=3.0>(q, w, b)', 'float32[N,2]'],
  ['Gemm<transB=1>(q, w)', 'float32[N,2]'],
  ['MatMul(q, w)', 'float32[N,3,2]'],
])('%s takes a scale', async (layer, type) => {
  const before = parseText(`opset 17 (${type} x) => (y) {
    w: float32[2,2] = random()
    b: float32[2] = random()
    d: float32 = 4
    q = Div(x, d)
    y = ${layer}
  }`);
  const { model: after, changed } = await run(foldScalarBefore, before);
  expect(changed).toBe(1);
  expect(after.graph.nodes.length).toBe(1);
  await expectEquivalent(after, before, ROUNDING);
});

it('Gemm takes a shift, times α', async () => {
  const before = model`opset 17 (float32[N,3] x) => (y) {
    w: float32[3,2] = random()
    b: float32[2] = random()
    c: float32 = 4
    q = Sub(x, c)
    y = Gemm<alpha=0.5, beta=2.0>(q, w, b)
  }`;
  const { model: after, changed } = await run(foldScalarBefore, before);
  expect(changed).toBe(1);
  expect(after.graph.nodes.length).toBe(1);
  await expectEquivalent(after, before, ROUNDING);
});

it('ConvTranspose takes the scale and leaves the shift, whose sum differs at the border', async () => {
  const before = model`opset 17 (float32[N,2,3,3] x) => (y) {
    w: float32[2,3,3,3] = random()
    a: float32 = 4
    c: float32 = 1
    p = Mul(x, a)
    q = Add(p, c)
    y = ConvTranspose<pads=[1, 1, 1, 1]>(q, w)
  }`;
  const { model: after, changed } = await run(foldScalarBefore, before);
  expect(changed).toBe(1);
  expect(after.graph.nodes.map((n) => n.opType)).toEqual(['Add', 'ConvTranspose']);
  await expectEquivalent(after, before, { atol: 1e-4, rtol: 1e-5 });
});

describe('is left', () => {
  const text = (constant: string, extra: string, outputs: string): string => `
    opset 17 (float32[N,2] x) => (y${outputs}) {
      w: float32[2,2] = random()
      a: ${constant}
      q = Mul(x, a)
      ${extra}
      y = [layer] Gemm(q, w)
    }`;

  it.each([
    [
      'when another node reads the scaled value',
      'float32 = 2',
      'r = Relu(q)',
      ', r',
      "'q' is also read by Relu 'Relu_r'",
    ],
    ['when the scaled value is a graph output', 'float32 = 2', '', ', q', "'q' is a graph output"],
  ])('%s', async (_, constant, extra, outputs, reason) => {
    expect(await refusals(foldScalarBefore, parseText(text(constant, extra, outputs)))).toEqual([
      `Gemm 'layer' stays: ${reason}`,
    ]);
  });

  it('when there is one number a channel: equalization decides about those', async () => {
    expect(await refusals(foldScalarBefore, parseText(text('float32[2] = {1, 2}', '', '')))).toEqual([]);
  });

  it('when the constant adds an axis', async () => {
    const before = model`opset 17 (float32[2,2] x) => (y) {
      w: float32[2,2] = random()
      a: float32[1,1,1] = {2}
      q = Mul(x, a)
      y = [layer] MatMul(q, w)
    }`;
    expect(await refusals(foldScalarBefore, before)).toEqual([
      "MatMul 'layer' stays: its constant has more axes than the value, or the rank is unknown",
    ]);
  });

  it('when a padding Conv would need a shift divided by zero', async () => {
    const before = model`opset 17 (float32[1,1,4,4] x) => (y) {
      w: float32[1,1,3,3] = random()
      zero: float32 = 0
      c: float32 = 1
      p = Mul(x, zero)
      q = Add(p, c)
      y = [layer] Conv<pads=[1, 1, 1, 1]>(q, w)
    }`;
    expect(await refusals(foldScalarBefore, before)).toEqual(["Conv 'layer' stays: it is scaled by 0"]);
  });
});
