import { describe, expect, it } from 'vitest';
import { createContext } from '../../../src/core/index.js';
import { inferTypes } from '../../../src/rewrite/rules/infer-types.js';
import { prune } from '../../../src/rewrite/rules/prune.js';
import { uniqueNames } from '../../../src/rewrite/rules/unique-names.js';
import { formatModel, namesOf, subgraphsOf, type Model } from '../../../src/onnx/index.js';
import { EXACT, dedent, expectEquivalent, expectRewrite } from '../../helpers/equivalence.js';
import { model } from '../../helpers/model.js';
import { applying } from '../passes.js';

describe('prune', () => {
  it('removes what nobody reads', () =>
    expectRewrite({
      rewrite: applying(prune),
      before: model`opset 17 (float32[1,1,4] x) => (float32[1,1,3] y) {
        unread: float32[4] = {1, 2, 3, 4}
        a = Relu(x)
        b = Add(a, unread)
        y, indices = MaxPool<kernel_shape=[2]>(x)
      }`,
      after: `
        opset 17
        (float32[1,1,4] x) => (float32[1,1,3] y) {
          y = MaxPool<kernel_shape=[2]>(x)
        }`,
      tolerance: EXACT,
    }));

  it('leaves a gap for an optional output before one that is read', async () => {
    const before = model`opset 14 (float32[3,1,2] x) => (float32[1,1,2] h) {
      w: float32[1,8,2] = random()
      r: float32[1,8,2] = random()
      all, h, c = LSTM<hidden_size=2>(x, w, r)
    }`;
    const after = await applying(prune)(before);
    expect(after.graph.nodes[0]?.outputs).toEqual(['', 'h']);
    await expectEquivalent(after, before, EXACT);
  });

  it('keeps outputs that a node may not leave out', async () => {
    const before = model`opset 17 (float32[4] x) => (float32[2] b) { a, b = Split<axis=0>(x) }`;
    expect((await prune.run(before, createContext())).changed).toBe(0);
  });

  it('keeps what only a subgraph reads, and prunes inside', async () => {
    const before = model`opset 17 (float32[2] x, bool flag) => (float32[2] y) {
      a = Neg(x)
      y = If<
        then_branch = () => (float32[2] p) { p = Exp(a) dead = Exp(p) },
        else_branch = () => (float32[2] q) { q = Exp(x) }
      >(flag)
    }`;
    const { model: after, changed } = await prune.run(before, createContext());
    expect(changed).toBe(1);
    expect(after.graph.nodes.map((n) => n.opType)).toEqual(['Neg', 'If']);
    for (const seed of [1, 2, 3]) await expectEquivalent(after, before, EXACT, { seed });
  });
});

describe('unique-names', () => {
  const branches = model`opset 17 (float32[2] x, bool flag) => (float32[2] y) {
    a = [m] Neg(x)
    y = [n] If<
      then_branch = () => (float32[2] p) { k: float32 = 1 b = [n] Exp(a) p = [m] Add(b, k) },
      else_branch = () => (float32[2] p) { k: float32 = 2 b = [n] Abs(a) p = [m] Add(b, k) }
    >(flag)
  }`;

  it('tells apart the values of branches and the nodes of all graphs', async () => {
    const { model: after } = await uniqueNames.run(branches, createContext());
    expect(formatModel(after, { names: true })).toBe(
      dedent(`
        opset 17
        (float32[2] x, bool flag) => (float32[2] y) {
          a = [m] Neg(x)
          y = [n] If<then_branch=() => (float32[2] p) {
            k: float32 = {1}
            b = [n_1] Exp(a)
            p = [m_1] Add(b, k)
          }, else_branch=() => (float32[2] p_1) {
            k_1: float32 = {2}
            b_1 = [n_2] Abs(a)
            p_1 = [m_2] Add(b_1, k_1)
          }>(flag)
        }`),
    );
    for (const seed of [1, 2, 3]) await expectEquivalent(after, branches, EXACT, { seed });
  });

  it('names nodes without a name after what they write, and is done after one run', async () => {
    const before = model`opset 17 (float32[2] x) => (float32[2] y) { a = Neg(x) y = Abs(a) }`;
    const nameless = {
      ...before,
      graph: { ...before.graph, nodes: before.graph.nodes.map((n) => ({ ...n, name: '' })) },
    };
    const once = await uniqueNames.run(nameless, createContext());
    expect(once.model.graph.nodes.map((n) => n.name)).toEqual(['Neg_a', 'Abs_y']);
    const twice = await uniqueNames.run(once.model, createContext());
    expect(twice.changed).toBe(0);
    expect(twice.model).toBe(once.model);
  });

  it('keeps the scopes of nested graphs', async () => {
    const before = model`opset 17 (float32[2] x, bool flag) => (float32[2] y) {
      y = If<
        then_branch = () => (float32[2] p) {
          b = Exp(x)
          p = If<
            then_branch = () => (float32[2] q) { c = Neg(b) q = Abs(c) },
            else_branch = () => (float32[2] q) { c = Exp(b) q = Neg(c) }
          >(flag)
        },
        else_branch = () => (float32[2] p) { b = Neg(x) p = Exp(b) }
      >(flag)
    }`;
    const { model: after } = await uniqueNames.run(before, createContext());
    expect(definedTwice(after)).toEqual([]);
    expect(definedTwice(before)).not.toEqual([]);
    for (const seed of [1, 2, 3, 4]) await expectEquivalent(after, before, EXACT, { seed });
  });
});

function definedTwice({ graph }: Model): string[] {
  const seen = new Set<string>();
  const twice: string[] = [];
  const visit = (g: Model['graph']): void => {
    for (const name of [
      ...g.inputs.map((v) => v.name),
      ...g.initializers.keys(),
      ...g.nodes.flatMap((n) => n.outputs),
    ])
      if (seen.has(name)) twice.push(name);
      else seen.add(name);
    for (const node of g.nodes) for (const { graph: inner } of subgraphsOf(node)) visit(inner);
  };
  visit(graph);
  expect([...namesOf(graph)]).toEqual(expect.arrayContaining([...seen]));
  return twice;
}

it('infer-types notes types in the graph that holds the value, and not those of outputs', async () => {
  const before = model`opset 17 (float32[N,3] x, bool flag) => (float32[N,3] y) {
    a = Transpose(x)
    y = If<
      then_branch = () => (p) { b = Transpose(a) p = Neg(b) },
      else_branch = () => (q) { q = Neg(x) }
    >(flag)
  }`;
  const { model: after } = await inferTypes.run(before, createContext());
  expect([...after.graph.valueInfo.keys()]).toEqual(['a']);
  expect(after.graph.valueInfo.get('a')?.type).toEqual({ dtype: 'float32', dims: [3, 'N'] });
  const [then] = subgraphsOf(after.graph.nodes[1] ?? { ...before.graph.nodes[0]! });
  expect(then?.graph.valueInfo.get('b')?.type).toEqual({ dtype: 'float32', dims: ['N', 3] });
});
