import { describe, expect, it } from 'vitest';
import { fuse } from '../../../src/rewrite/fusion.js';
import { gelu } from '../../../src/rewrite/rules/fuse-gelu.js';
import { hardSwish } from '../../../src/rewrite/rules/fuse-hard-swish.js';
import { layerNormalization } from '../../../src/rewrite/rules/fuse-layer-normalization.js';
import { formatModel } from '../../../src/onnx/index.js';
import { dedent, expectEquivalent } from '../../helpers/equivalence.js';
import { model, parseText } from '../../helpers/model.js';
import { refusals, run } from '../passes.js';

/** A handful of float32 roundings of values of order 1. */
const ROUNDING = { atol: 2e-6, rtol: 1e-5 };

describe('Gelu', () => {
  const CONSTANTS = `
    root: float32 = 1.4142135
    inverse: float32 = 0.70710677
    one: float32 = 1
    half: float32[1] = {0.5}
    two: float32 = 2`;
  const SPELLINGS = {
    '(x · s) · ½': 'a = Div(x, root) e = Erf(a) s = Add(e, one) p = Mul(x, s) y = Mul(p, half)',
    'x · (½ · s)': 'a = Mul(inverse, x) e = Erf(a) s = Add(one, e) p = Mul(half, s) y = Mul(x, p)',
    '(½ · x) · s': 'h = Mul(x, half) a = Div(x, root) e = Erf(a) s = Add(e, one) y = Mul(h, s)',
    '(x · s) / 2': 'a = Div(x, root) e = Erf(a) s = Add(e, one) p = Mul(s, x) y = Div(p, two)',
  };

  it.each(Object.entries(SPELLINGS))('is %s', async (_, nodes) => {
    const before = parseText(`opset 20 (float32[N,8] x) => (float32[N,8] y) { ${CONSTANTS} ${nodes} }`);
    const { model: after, changed } = await run(fuse(gelu), before);
    expect(changed).toBe(1);
    expect(formatModel(after)).toBe(
      dedent(`
        opset 20
        (float32[N,8] x) => (float32[N,8] y) {
          y = Gelu(x)
        }`),
    );
    await expectEquivalent(after, before, ROUNDING);
  });

  it.each([
    ['another argument', 'a = Div(x, two) e = Erf(a) s = Add(e, one) p = Mul(x, s) y = Mul(p, half)'],
    ['another factor', 'a = Div(x, root) e = Erf(a) s = Add(e, one) p = Mul(x, s) y = Mul(p, two)'],
    [
      'another value',
      'z = Neg(x) a = Div(x, root) e = Erf(a) s = Add(e, one) p = Mul(z, s) y = Mul(p, half)',
    ],
    ['a difference', 'a = Div(x, root) e = Erf(a) s = Sub(one, e) p = Mul(x, s) y = Mul(p, half)'],
  ])('is not %s', async (_, nodes) => {
    const before = parseText(`opset 20 (float32[N,8] x) => (float32[N,8] y) { ${CONSTANTS} ${nodes} }`);
    expect(await refusals(fuse(gelu), before)).toEqual([]);
  });

  it('is left where a value inside is read outside, or the opset has no Gelu', async () => {
    const text = (opset: number, outputs: string): string => `
      opset ${opset} (float32[N,8] x) => (float32[N,8] y${outputs}) {
        ${CONSTANTS}
        a = Div(x, root) e = [erf] Erf(a) s = Add(e, one) p = Mul(x, s) y = Mul(p, half)
      }`;
    expect(await refusals(fuse(gelu), parseText(text(20, ', float32[N,8] s')))).toEqual([
      "Erf 'erf' stays: 's' is a graph output",
    ]);
    expect(await refusals(fuse(gelu), parseText(text(17, '')))).toEqual([
      "Erf 'erf' stays: Gelu needs opset 20, the model has 17",
    ]);
  });
});

describe('HardSwish', () => {
  const CONSTANTS = 'three: float32[1] = {3} six: float32 = 6 zero: float32 = 0 sixth: float32 = 0.16666667';
  const SPELLINGS = {
    'x · clip(x + 3) / 6': 'a = Add(x, three) c = Clip(a, zero, six) p = Mul(x, c) y = Div(p, six)',
    'x · (clip(x + 3) · ⅙)': 'a = Add(three, x) c = Clip(a, zero, six) p = Mul(c, sixth) y = Mul(p, x)',
    'x · HardSigmoid(x)': 'h = HardSigmoid<alpha=0.16666667, beta=0.5>(x) y = Mul(x, h)',
  };

  it.each(Object.entries(SPELLINGS))('is %s', async (_, nodes) => {
    const before = parseText(`opset 14 (float32[N,64] x) => (float32[N,64] y) { ${CONSTANTS} ${nodes} }`);
    const { model: after, changed } = await run(fuse(hardSwish), before);
    expect(changed).toBe(1);
    expect(after.graph.nodes.map((n) => n.opType)).toEqual(['HardSwish']);
    await expectEquivalent(after, before, ROUNDING);
  });

  it.each([
    ['other limits', 'a = Add(x, three) c = Clip(a, three, six) p = Mul(x, c) y = Div(p, six)'],
    ['a gate of its own', 'h = HardSigmoid(x) y = Mul(x, h)'],
    ['a gate of another value', 'z = Neg(x) h = HardSigmoid<alpha=0.16666667, beta=0.5>(z) y = Mul(x, h)'],
  ])('is not %s', async (_, nodes) => {
    const before = parseText(`opset 14 (float32[N,64] x) => (float32[N,64] y) { ${CONSTANTS} ${nodes} }`);
    expect(await refusals(fuse(hardSwish), before)).toEqual([]);
  });
});

describe('LayerNormalization', () => {
  const CONSTANTS = `
    two: float32 = 2
    epsilon: float32 = 0.00001
    minus: float32 = -0.1
    gamma: float32[8] = random(mean=1, scale=0.2)
    beta: float32[8] = random()`;
  const core = (square: string, axes: string): string => `
    m = ReduceMean<axes=[${axes}]>(x) d = Sub(x, m) q = ${square} v = ReduceMean<axes=[${axes}]>(q)
    s = Add(v, epsilon) r = Sqrt(s)`;

  it('is the division and what scales and shifts it', async () => {
    const before = parseText(`opset 17 (float32[N,4,8] x) => (float32[N,4,8] y) {
      ${CONSTANTS} ${core('Pow(d, two)', '-1')} n = Div(d, r) g = Mul(gamma, n) y = [norm] Add(g, beta)
    }`);
    const { model: after } = await run(fuse(layerNormalization), before);
    expect(formatModel(after, { elements: 1, names: true })).toBe(
      dedent(`
        opset 17
        (float32[N,4,8] x) => (float32[N,4,8] y) {
          gamma: float32[8]
          beta: float32[8]
          y = [norm] LayerNormalization<axis=-1, epsilon=0.00001>(x, gamma, beta)
        }`),
    );
    await expectEquivalent(after, before, ROUNDING);
  });

  it.each([
    ['a square as product', `${core('Mul(d, d)', '2')} n = Div(d, r) g = Mul(n, gamma) y = Add(g, beta)`],
    ['no shift', `${core('Pow(d, two)', '-1')} n = Div(d, r) y = Mul(n, gamma)`],
    ['no scale', `${core('Pow(d, two)', '-1')} y = Div(d, r)`],
    ['the difference written twice', `${core('Pow(d, two)', '-1')} e = Sub(x, m) y = Div(e, r)`],
  ])('is %s', async (_, nodes) => {
    const before = parseText(`opset 17 (float32[N,4,8] x) => (float32[N,4,8] y) { ${CONSTANTS} ${nodes} }`);
    const { model: after, changed } = await run(fuse(layerNormalization), before);
    expect(changed).toBe(1);
    expect(after.graph.nodes.map((n) => n.opType)).toEqual(['LayerNormalization']);
    await expectEquivalent(after, before, ROUNDING);
  });

  it('runs over several last axes, given as input', async () => {
    const before = model`opset 18 (float32[N,4,8] x) => (float32[N,4,8] y) {
      two: float32 = 2
      epsilon: float32 = 0.001
      axes: int64[2] = {1, 2}
      m = ReduceMean(x, axes) d = Sub(x, m) q = Pow(d, two) v = ReduceMean(q, axes)
      s = Add(v, epsilon) r = Sqrt(s) y = Div(d, r)
    }`;
    const { model: after, changed } = await run(fuse(layerNormalization), before);
    expect(changed).toBe(1);
    await expectEquivalent(after, before, ROUNDING);
  });

  it.each([
    ['over another axis', `${core('Pow(d, two)', '1')} y = Div(d, r)`],
    ['of another power', `${core('Pow(d, epsilon)', '-1')} y = Div(d, r)`],
    ['of another value', `${core('Pow(x, two)', '-1')} y = Div(d, r)`],
    ['with a negative ε', `${core('Pow(d, two)', '-1').replace('epsilon', 'minus')} y = Div(d, r)`],
    [
      'with a variance over another axis',
      `${core('Pow(d, two)', '-1').replace('v = ReduceMean<axes=[-1]>', 'v = ReduceMean<axes=[1]>')} y = Div(d, r)`,
    ],
    [
      'of means along another axis, which drop theirs',
      `${core('Pow(d, two)', '-1').replaceAll('axes=[-1]', 'axes=[-1], keepdims=0')} y = Div(d, r)`,
    ],
  ])('is none %s', async (_, nodes) => {
    const before = parseText(`opset 17 (float32[1,8,8] x) => (float32[1,8,8] y) { ${CONSTANTS} ${nodes} }`);
    expect(await refusals(fuse(layerNormalization), before)).toEqual([]);
  });
});
