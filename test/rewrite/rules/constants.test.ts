import { describe, expect, it } from 'vitest';
import { constantsToInitializers } from '../../../src/rewrite/rules/constants-to-initializers.js';
import { freezeInitializers } from '../../../src/rewrite/rules/freeze-initializers.js';
import { unshareInitializers } from '../../../src/rewrite/rules/unshare-initializers.js';
import { value, type Model } from '../../../src/onnx/index.js';
import { EXACT, expectEquivalent, expectRewrite } from '../../helpers/equivalence.js';
import { model, parseText } from '../../helpers/model.js';
import { applying, refusals, run } from '../passes.js';

describe('Constant nodes', () => {
  it.each([
    ['value=float32[2] {1, 2}', 'float32[2] = {1, 2}'],
    ['value_float=1.5', 'float32 = {1.5}'],
    ['value_floats=[1.5, 2.0]', 'float32[2] = {1.5, 2}'],
    ['value_int=7', 'int64 = {7}'],
    ['value_ints=[7, 8]', 'int64[2] = {7, 8}'],
  ])('become initializers: %s', async (attribute, stored) => {
    const [type] = stored.split(/[[ ]/);
    await expectRewrite({
      rewrite: applying(constantsToInitializers),
      before: parseText(`opset 17 (bool[2] x) => (${type}[2] y) {
        c = Constant<${attribute}>()
        y = Where(x, c, c)
      }`),
      after: `
        opset 17
        (bool[2] x) => (${type}[2] y) {
          c: ${stored}
          y = Where(x, c, c)
        }`,
      tolerance: EXACT,
    });
  });

  it('of strings, too', async () => {
    const before = model`opset 17 (string[2] x) => (bool[2] y) {
      c = Constant<value_strings=["a", "b"]>()
      y = Equal(x, c)
    }`;
    const { model: after } = await constantsToInitializers.run(before, {} as never);
    expect(after.graph.initializers.get('c')).toMatchObject({ dtype: 'string', dims: [2] });
  });

  it('that are graph outputs stay', async () => {
    const before = model`opset 17 (float32 x) => (float32 y) { y = [c] Constant<value_float=1.0>() }`;
    expect(await refusals(constantsToInitializers, before)).toEqual([
      "Constant 'c' stays: 'y' is a graph output",
    ]);
  });
});

describe('initializers that are inputs', () => {
  const withInput = (irVersion: number): Model => {
    const before = model`opset 8 (float32[N,2] x) => (float32[N,2] y) {
      w: float32[2,2] = random()
      y = MatMul(x, w)
    }`;
    const inputs = [...before.graph.inputs, value('w', 'float32', [2, 2])];
    return { ...before, irVersion, graph: { ...before.graph, inputs } };
  };

  it('are constants before IR 4', async () => {
    const { model: after, changed, notes } = await run(freezeInitializers, withInput(3));
    expect(changed).toBe(1);
    expect(notes).toEqual([]);
    expect(after.irVersion).toBe(4);
    expect(after.graph.inputs.map((v) => v.name)).toEqual(['x']);
    await expectEquivalent(after, withInput(3), EXACT);
  });

  it('are defaults since: the default is taken, with a warning', async () => {
    const { model: after, notes } = await run(freezeInitializers, withInput(8));
    expect(after.graph.inputs.map((v) => v.name)).toEqual(['x']);
    expect(notes).toMatchObject([{ level: 'warn', message: expect.stringContaining("input 'w'") as string }]);
    await expectEquivalent(after, withInput(8), EXACT);
  });
});

describe('shared initializers', () => {
  it('get a copy for each way to quantize them', () =>
    expectRewrite({
      rewrite: applying(unshareInitializers),
      before: model`opset 17 (int64[N] ids, float32[N,4] x) => (float32[N,4] e, float32[N,4] l, float32[N,4] r, float32[4,4] s) {
        table: float32[4,4] = random()
        bias: float32[4] = random()
        e = Gather(table, ids)
        l = MatMul(x, table)
        r = MatMul(l, table)
        s = Add(x, table)
      }`,
      after: `
        opset 17
        (int64[N] ids, float32[N,4] x) => (float32[N,4] e, float32[N,4] l, float32[N,4] r, float32[4,4] s) {
          table: float32[4,4]
          bias: float32[4]
          table_copy: float32[4,4]
          table_copy_1: float32[4,4]
          e = Gather(table, ids)
          l = MatMul(x, table_copy)
          r = MatMul(l, table_copy)
          s = Add(x, table_copy_1)
        }`,
      text: { elements: 1 },
      inputs: { dims: { N: 4 } },
      tolerance: EXACT,
    }));

  it('are shared by an embedding and a head whose scales run the same way', async () => {
    const before = model`opset 17 (int64[N] ids, float32[N,4] x) => (e, l) {
      table: float32[5,4] = random()
      e = Gather(table, ids)
      l = Gemm<transB=1>(x, table)
    }`;
    expect((await run(unshareInitializers, before)).changed).toBe(0);
  });

  it('are one bias a layer, also in subgraphs', async () => {
    const before = model`opset 17 (float32[2,2,4] x, bool flag) => (float32[2,2,4] y) {
      w: float32[2,2,1] = random()
      b: float32[2] = random()
      c = Conv(x, w, b)
      d = Conv(c, w, b)
      y = If<
        then_branch = () => (float32[2,2,4] p) { p = Conv(d, w, b) },
        else_branch = () => (float32[2,2,4] q) { q = Conv(d, w) }
      >(flag)
    }`;
    const { model: after, changed } = await run(unshareInitializers, before);
    expect(changed).toBe(2);
    expect([...after.graph.initializers.keys()]).toEqual(['w', 'b', 'b_copy', 'b_copy_1']);
    for (const seed of [1, 2, 3]) await expectEquivalent(after, before, EXACT, { seed });
  });
});
