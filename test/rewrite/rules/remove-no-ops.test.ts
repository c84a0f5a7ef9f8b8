import { describe, expect, it } from 'vitest';
import { removeNoOps } from '../../../src/rewrite/rules/remove-no-ops.js';
import { EXACT, expectEquivalent, expectRewrite } from '../../helpers/equivalence.js';
import { model, parseText } from '../../helpers/model.js';
import { applying, refusals, run } from '../passes.js';

const apply = applying(removeNoOps);

const CONSTANTS = `
  zero: float32 = 0
  one: float32[1,1] = {1}
  two: float32 = 2
  half: float32 = 0.5
  raise: float32[1,1,1,1] = {1}
  zeros: int64[6] = full(value=0)
  ones: int64[3] = full(value=1)
  begin: int64[2] = {0, 0}
  end: int64[2] = {4, 9223372036854775807}
  short: int64[2] = {3, 5}
  axes: int64[2] = {1, -1}
  steps: int64[2] = {1, 1}
  same: int64[3] = {0, 4, 5}
  flat: int64[2] = {0, 20}
  yes: bool[1,1,5] = full(value=1)
  no: bool = 0`;

/** One node between `a` and `b`, both computed and read, in opset 17 with x of [N, 4, 5]. */
const between = (
  node: string,
  outputs = '',
): string => `opset 17 (float32[N,4,5] x) => (float32[N,4,5] y${outputs}) {
  ${CONSTANTS}
  a = Relu(x)
  ${node}
  y = Neg(b)
}`;

it.each([
  'b = Identity(a)',
  'b = Dropout(a)',
  'b = Dropout(a, half, no)',
  'b = Cast<to=1>(a)',
  'b = Transpose<perm=[0, 1, 2]>(a)',
  'b = Reshape(a, same)',
  'b = Expand(a, ones)',
  'b = Tile(a, ones)',
  'b = Pad(a, zeros)',
  'b = Slice(a, begin, end, axes, steps)',
  'b = Slice(a, begin, end, axes)',
  'b = Concat<axis=1>(a)',
  'b = Sum(a)',
  'b = Add(zero, a)',
  'b = Sub(a, zero)',
  'b = Mul(a, one)',
  'b = Div(a, one)',
  'b = Where(yes, a, two)',
  'b = Where(no, two, a)',
])('%s is removed', async (node) => {
  await expectRewrite({
    rewrite: async (before) => {
      const after = await apply(before);
      return { ...after, graph: { ...after.graph, initializers: new Map() } };
    },
    before: parseText(between(node)),
    after: `
      opset 17
      (float32[N,4,5] x) => (float32[N,4,5] y) {
        a = Relu(x)
        y = Neg(a)
      }`,
    tolerance: EXACT,
  });
});

it.each([
  'b = Cast<to=11>(a)',
  'b = Transpose(a)',
  'b = Transpose<perm=[0, 2, 1]>(a)',
  'b = Reshape(a, flat)',
  'b = Slice(a, begin, short, axes)',
  'b = Slice(a, axes, end, axes)',
  'b = Sub(zero, a)',
  'b = Div(one, a)',
  'b = Mul(a, two)',
  'b = Mul(a, raise)',
  'b = Where(yes, two, a)',
])('%s stays', async (node) => {
  expect(await refusals(removeNoOps, parseText(between(node)))).toEqual([]);
});

it('reads the attributes of earlier opsets', async () => {
  const before = model`opset 9 (float32[N,4] x) => (y) {
    a = Relu(x)
    b = Slice<axes=[1], starts=[0], ends=[4]>(a)
    c = Pad<pads=[0, 0, 0, 0]>(b)
    y = Neg(c)
  }`;
  const { model: after, changed } = await run(removeNoOps, before);
  expect(changed).toBe(2);
  await expectEquivalent(after, before, EXACT);
});

describe('at the end of the graph', () => {
  it('the value before takes the name of the output, for its other readers too', () =>
    expectRewrite({
      rewrite: apply,
      before: model`opset 17 (float32[2] x) => (float32[2] y, float32[2] z) {
        a = Relu(x)
        y = Identity(a)
        z = Neg(a)
      }`,
      after: `
        opset 17
        (float32[2] x) => (float32[2] y, float32[2] z) {
          y = Relu(x)
          z = Neg(y)
        }`,
      tolerance: EXACT,
    }));

  it('one of two names of a value stays', async () => {
    const before = model`opset 17 (float32[2] x) => (float32[2] a, float32[2] y) {
      a = Relu(x)
      y = [copy] Identity(a)
    }`;
    expect(await refusals(removeNoOps, before)).toEqual([
      "Identity 'copy' stays: 'a' and 'y' are both graph outputs",
    ]);
  });

  it('an input or a constant stays an output under its own name', async () => {
    const before = model`opset 17 (float32[2] x) => (float32[2] y, float32[2] z) {
      c: float32[2] = {1, 2}
      y = Identity(x)
      z = Identity(c)
    }`;
    expect(await refusals(removeNoOps, before)).toEqual([]);
  });

  it('a branch keeps handing out a value from around it', async () => {
    const before = model`opset 17 (float32[2] x, bool flag) => (float32[2] y) {
      a = Relu(x)
      y = If<
        then_branch = () => (float32[2] p) { q = Neg(a) p = Identity(q) },
        else_branch = () => (float32[2] r) { r = Identity(a) }
      >(flag)
    }`;
    const { model: after, changed } = await run(removeNoOps, before);
    expect(changed).toBe(1);
    for (const seed of [1, 2, 3]) await expectEquivalent(after, before, EXACT, { seed });
  });
});

it('values read inside a subgraph are followed there', async () => {
  const before = model`opset 17 (float32[2] x, bool flag) => (float32[2] y) {
    a = Relu(x)
    b = Identity(a)
    y = If<
      then_branch = () => (float32[2] p) { p = Neg(b) },
      else_branch = () => (float32[2] q) { q = Exp(b) }
    >(flag)
  }`;
  const { model: after, changed } = await run(removeNoOps, before);
  expect(changed).toBe(1);
  for (const seed of [1, 2, 3]) await expectEquivalent(after, before, EXACT, { seed });
});

it('a Dropout whose mask is read stays', async () => {
  const before = model`opset 13 (float32[2] x) => (float32[2] y, bool[2] m) {
    a, m = [drop] Dropout(x)
    y = Neg(a)
  }`;
  expect(await refusals(removeNoOps, before)).toEqual([
    "Dropout 'drop' stays: its second output 'm' is read",
  ]);
});
