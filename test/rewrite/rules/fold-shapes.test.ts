import { expect, it } from 'vitest';
import { prune } from '../../../src/rewrite/rules/prune.js';
import { foldShapes } from '../../../src/rewrite/rules/fold-shapes.js';
import { createContext } from '../../../src/core/index.js';
import { EXACT, expectEquivalent, expectRewrite } from '../../helpers/equivalence.js';
import { type Model } from '../../../src/onnx/index.js';
import { model, parseText } from '../../helpers/model.js';
import { applying, run } from '../passes.js';

async function apply(before: Model): Promise<Model> {
  const folded = await applying(foldShapes)(before);
  return (await prune.run(folded, createContext())).model;
}

it('writes a target that copies and leaves one dimension as exporters mean it', () =>
  expectRewrite({
    rewrite: apply,
    before: model`opset 17 (float32[N,T,8] x) => (float32[N,T,2,4] y) {
      i: int64 = 0
      j: int64 = 1
      axes: int64[1] = {0}
      heads: int64[2] = {2, 4}
      s = Shape(x)
      n = Gather(s, i)
      n1 = Unsqueeze(n, axes)
      t = Gather(s, j)
      t1 = Unsqueeze(t, axes)
      c = Concat<axis=0>(n1, t1, heads)
      y = Reshape(x, c)
    }`,
    after: `
      opset 17
      (float32[N,T,8] x) => (float32[N,T,2,4] y) {
        c_folded: int64[4] = {0, 0, 2, 4}
        y = Reshape(x, c_folded)
      }`,
    tolerance: EXACT,
    inputs: { dims: { N: 3, T: 5 } },
  }));

it('leaves out the dimension that moved', () =>
  expectRewrite({
    rewrite: apply,
    before: model`opset 17 (float32[4,N] x) => (float32[N,2,2] y) {
      one: int64[1] = {1}
      two: int64[1] = {2}
      rest: int64[2] = {2, 2}
      s = Shape(x)
      n = Slice(s, one, two)
      c = Concat<axis=0>(n, rest)
      y = Reshape(x, c)
    }`,
    after: `
      opset 17
      (float32[4,N] x) => (float32[N,2,2] y) {
        c_folded: int64[3] = {-1, 2, 2}
        y = Reshape(x, c_folded)
      }`,
    tolerance: EXACT,
    inputs: { dims: { N: 3 } },
  }));

it.each([
  ['copies an unnamed dimension', '?', '', '0, 2, 4'],
  ['does not write 0 where it would be meant', 'N', '<allowzero=1>', '-1, 2, 4'],
])('%s', async (_, dim, attributes, target) => {
  await expectRewrite({
    rewrite: apply,
    before: parseText(`opset 17 (float32[${dim},8] x) => (float32[${dim},2,4] y) {
      zero: int64[1] = {0}
      heads: int64[2] = {2, 4}
      s = Shape(x)
      n = Gather(s, zero)
      c = Concat<axis=0>(n, heads)
      y = Reshape${attributes}(x, c)
    }`),
    after: `
      opset 17
      (float32[${dim},8] x) => (float32[${dim},2,4] y) {
        c_folded: int64[3] = {${target}}
        y = Reshape${attributes}(x, c_folded)
      }`,
    tolerance: EXACT,
  });
});

it('keeps a target of two dimensions that are not where they were', async () => {
  const before = model`opset 17 (float32[A,B] x) => (y) {
    order: int64[2] = {1, 0}
    s = Shape(x)
    c = Gather(s, order)
    y = Reshape(x, c)
  }`;
  const { changed } = await run(foldShapes, before);
  expect(changed).toBe(0);
});

it('keeps a target that comes from outside or may count from it', async () => {
  const before = model`opset 17 (float32[N,4] x, int64[2] target) => (y, z) {
    one: int64[2] = {1, 1}
    y = Reshape(x, target)
    s = Shape(x)
    d = Sub(s, one)
    z = Reshape(x, d)
  }`;
  const { changed } = await run(foldShapes, before);
  expect(changed).toBe(0);
});

it.each([
  ['Shape of known dimensions', 'y = Cast<to=1>(s)', 's = Shape(x)'],
  ['a slice of a shape', 'y = Cast<to=1>(s)', 's = Shape<start=1>(n)'],
  [
    'arithmetic',
    'y = Cast<to=1>(d)',
    's = Shape(x) p = Mul(s, two) q = Add(p, two) r = Sub(q, s) d = Div(r, two)',
  ],
  ['a known element', 'y = Cast<to=1>(e)', 's = Shape(n) e = Gather(s, last)'],
  [
    'rank changes',
    'y = Cast<to=1>(u)',
    's = Shape(n) e = Gather(s, last) u = Reshape(e, minus) v = Squeeze(u)',
  ],
  ['int32 in between', 'y = Cast<to=1>(t)', 's = Shape(x) c = Cast<to=6>(s) t = Cast<to=7>(c)'],
])('computes %s', async (_, end, nodes) => {
  const before = parseText(`opset 17 (float32[2,3] x, float32[N,3] n) => (y) {
    two: int64 = 2
    last: int64 = -1
    minus: int64[1] = {-1}
    ${nodes}
    ${end}
  }`);
  const after = await apply(before);
  expect(after.graph.nodes.map((n) => n.opType)).toEqual(['Cast']);
  await expectEquivalent(after, before, EXACT, { dims: { N: 4 } });
});

it('knows that a size is not negative', () =>
  expectRewrite({
    rewrite: apply,
    before: model`opset 17 (float32[N,3] x) => (bool[2] y) {
      minus: int64[2] = {-1, -1}
      s = Shape(x)
      e = Equal(s, minus)
      y = Not(e)
    }`,
    after: `
      opset 17
      (float32[N,3] x) => (bool[2] y) {
        e: bool[2] = {0, 0}
        y = Not(e)
      }`,
    tolerance: EXACT,
  }));

it('does not believe what the model says about other values than its inputs', async () => {
  const before = model`opset 17 (float32[N,3] x) => (int64[2] y) {
    a = Relu(x)
    s = Shape(a)
    y = Neg(s)
  }`;
  const claimed = parseText('opset 17 (float32[7,3] a) => () {}').graph.inputs[0];
  if (claimed === undefined) throw new Error('no input');
  const lying = { ...before, graph: { ...before.graph, valueInfo: new Map([['a', claimed]]) } };
  const { changed } = await run(foldShapes, lying);
  expect(changed).toBe(0);
});
