import { expect, it } from 'vitest';
import { foldConstants } from '../../../src/rewrite/rules/fold-constants.js';
import { loadTensor } from '../../../src/onnx/index.js';
import { EXACT, expectEquivalent, expectRewrite } from '../../helpers/equivalence.js';
import { model, parseText } from '../../helpers/model.js';
import { applying, run } from '../passes.js';

const apply = applying(foldConstants);

it('computes chains of constants, and keeps what others read', () =>
  expectRewrite({
    rewrite: apply,
    before: model`opset 17 (float32[N,2] x) => (float32[N,3] y) {
      w: float32[3,2] = {1, 2, 3, 4, 5, 6}
      two: float32 = 2
      t = Transpose(w)
      u = Mul(t, two)
      m = MatMul(x, u)
      y = Add(m, two)
    }`,
    after: `
      opset 17
      (float32[N,2] x) => (float32[N,3] y) {
        two: float32 = {2}
        u: float32[2,3] = {2, 6, 10, 4, 8, 12}
        m = MatMul(x, u)
        y = Add(m, two)
      }`,
    tolerance: EXACT,
  }));

it('keeps nodes with several results, random numbers, quantized weights and graph outputs as they should be', async () => {
  const before = model`opset 17 (float32[4] x) => (float32[2] y, float32[4] z, float32[4] r, float32[4] q) {
    c: float32[4] = {1, 2, 3, 4}
    w: int8[4] = {1, 2, 3, 4}
    scale: float32 = 0.5
    a, b = Split<axis=0>(c)
    y = Neg(b)
    z = Neg(c)
    n = RandomNormalLike<seed=1.0>(c)
    r = Mul(x, n)
    d = DequantizeLinear(w, scale)
    q = Mul(x, d)
  }`;
  const { model: after } = await run(foldConstants, before);
  expect(after.graph.nodes.map((n) => n.opType)).toEqual([
    'Neg',
    'Neg',
    'RandomNormalLike',
    'Mul',
    'DequantizeLinear',
    'Mul',
  ]);
  expect(after.graph.initializers.has('b')).toBe(true);
});

it.each([
  ['small', 64, 0],
  ['large', 1024, 1],
])('folds a %s expansion of %i² numbers: %i nodes are left', async (_, n, left) => {
  const before = parseText(`opset 17 (float32[${n},${n}] x) => (y) {
    c: float32[1] = {1}
    shape: int64[2] = {${n}, ${n}}
    e = Expand(c, shape)
    y = Add(x, e)
  }`);
  const { model: after } = await run(foldConstants, before);
  expect(after.graph.nodes.filter((node) => node.opType === 'Expand').length).toBe(left);
  await expectEquivalent(after, before, EXACT);
});

it('folds large results of large constants', async () => {
  const before = model`opset 17 (float32[N,100] x) => (y) {
    w: float16[200,100] = random()
    c = Cast<to=1>(w)
    t = Transpose(c)
    y = MatMul(x, t)
  }`;
  const { model: after } = await run(foldConstants, before);
  expect(after.graph.nodes.map((n) => n.opType)).toEqual(['MatMul']);
  await expectEquivalent(after, before, EXACT);
});

it('folds inside subgraphs, of constants from inside and outside', async () => {
  const before = model`opset 17 (float32[2] x, bool flag) => (float32[2] y) {
    c: float32[2] = {1, 2}
    d = Neg(c)
    y = If<
      then_branch = () => (float32[2] a) { k: float32 = 3 e = Mul(d, k) a = Add(x, e) },
      else_branch = () => (float32[2] b) { f = Exp(c) b = Add(x, f) }
    >(flag)
  }`;
  const { model: after, changed } = await run(foldConstants, before);
  expect(changed).toBe(3);
  expect(after.graph.nodes.map((n) => n.opType)).toEqual(['If']);
  for (const seed of [1, 2, 3]) await expectEquivalent(after, before, EXACT, { seed });
});

it('gives the values the runtime computes', async () => {
  const before = model`opset 17 (float32[1] x) => (float32[1] y) {
    c: float32[1] = {2}
    e = Erf(c)
    y = Mul(x, e)
  }`;
  const { model: after } = await run(foldConstants, before);
  const stored = after.graph.initializers.get('e');
  expect(stored && loadTensor(stored).data).toBeAllclose([0.9953222650189527], { atol: 1e-7, rtol: 0 });
});
