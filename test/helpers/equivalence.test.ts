/** The helpers themselves: they must fail when models differ. */
import { describe, expect, it } from 'vitest';
import { node, withGraph, type Model } from '../../src/onnx/index.js';
import { dedent, EXACT, expectEquivalent, expectRewrite } from './equivalence.js';
import { model } from './model.js';

const scaled = (factor: number): Model => model`
  opset 17
  (float32[N,3] x) => (float32[N,3] y) {
    k: float32 = ${factor}
    y = Mul(x, k)
  }`;

describe('expectEquivalent', () => {
  it('accepts the same computation', () => expectEquivalent(scaled(2), scaled(2), EXACT));

  it('rejects another value, beyond the tolerance only', async () => {
    await expect(expectEquivalent(scaled(2.001), scaled(2), EXACT)).rejects.toThrow('elements differ');
    await expectEquivalent(scaled(2.001), scaled(2), { atol: 0, rtol: 1e-3 });
  });

  it('rejects another shape, element type or output name', async () => {
    const cases = [
      model`opset 17 (float32[N,3] x) => (float32[N,1] y) { a: int64[1] = {1}  y = ReduceMean<axes=[1]>(x) }`,
      model`opset 17 (float32[N,3] x) => (float64[N,3] y) { y = Cast<to=11>(x) }`,
      model`opset 17 (float32[N,3] x) => (float32[N,3] z) { z = Add(x, x) }`,
    ];
    for (const other of cases) await expect(expectEquivalent(other, scaled(2), EXACT)).rejects.toThrow();
  });
});

describe('expectRewrite', () => {
  const toAdd = (m: Model): Model =>
    withGraph(m, { ...m.graph, nodes: [node('Add', ['x', 'x'], ['y'])], initializers: new Map() });
  const after = `
    opset 17
    (float32[N,3] x) => (float32[N,3] y) {
      y = Add(x, x)
    }`;

  it('checks the text and the computation', async () => {
    await expectRewrite({ rewrite: toAdd, before: scaled(2), after, tolerance: EXACT });
    await expect(
      expectRewrite({ rewrite: toAdd, before: scaled(3), after, tolerance: EXACT }),
    ).rejects.toThrow('elements differ');
    await expect(
      expectRewrite({ rewrite: (m) => m, before: scaled(2), after, tolerance: EXACT }),
    ).rejects.toThrow('to be');
  });
});

it('dedent removes common indentation', () => expect(dedent('\n    a\n      b\n  ')).toBe('a\n  b'));
