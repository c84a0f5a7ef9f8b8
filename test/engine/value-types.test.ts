import { describe, expect, it } from 'vitest';
import { inferValueTypes } from '../../src/engine/index.js';
import { value } from '../../src/onnx/index.js';
import { model } from '../helpers/model.js';

/** Types as `dtype[dims]`, by name. */
async function inferred(m: Parameters<typeof inferValueTypes>[0]): Promise<Record<string, string>> {
  const types = await inferValueTypes(m);
  return Object.fromEntries(
    [...types].map(([name, { dtype, dims }]) => [
      name,
      `${dtype}${dims === undefined ? '' : `[${dims.map((d) => d ?? '?').join(',')}]`}`,
    ]),
  );
}

describe('inferValueTypes', () => {
  it('keeps symbolic dimensions and follows constant shapes', async () => {
    const m = model`opset 17 (float32[N,3,8,8] x) => (y) {
      w: float32[4,3,3,3] = random()
      s: int64[2] = {0, -1}
      c = Conv<pads=[1, 1, 1, 1]>(x, w)
      y = Reshape(c, s)
    }`;
    expect(await inferred(m)).toMatchObject({
      x: 'float32[N,3,8,8]',
      w: 'float32[4,3,3,3]',
      c: 'float32[N,4,8,8]',
      y: 'float32[N,256]',
    });
  });

  it('tells a scalar from an unknown rank', async () => {
    const m = model`opset 17 (float32[N,4] x, int64[?] shape) => (y, m) {
      y = Reshape(x, shape)
      z = Neg(y)
      m = ReduceMean<keepdims=0>(x)
    }`;
    expect(await inferred(m)).toMatchObject({ y: 'float32', z: 'float32', m: 'float32[]' });
  });

  it('believes inputs only: wrong notes about other values do not count', async () => {
    const m = model`opset 17 (float32[N,4] x) => (float32[1,4] y) {
      a = Relu(x)
      y = Neg(a)
    }`;
    const lying = { ...m, graph: { ...m.graph, valueInfo: new Map([['a', value('a', 'float32', [7, 4])]]) } };
    expect(await inferred(lying)).toMatchObject({ a: 'float32[N,4]', y: 'float32[N,4]' });
  });

  it('reaches into branches, with values and constants from around them', async () => {
    const m = model`opset 17 (float32[N,4] x, bool flag) => (y) {
      w: float32[4,80] = random()
      s: int64[3] = {0, 8, 10}
      a = Relu(x)
      y = If<
        then_branch = () => (p) { m = MatMul(a, w) p = Reshape(m, s) },
        else_branch = () => (q) { n = MatMul(x, w) q = Reshape(n, s) }
      >(flag)
    }`;
    expect(await inferred(m)).toMatchObject({
      m: 'float32[N,80]',
      p: 'float32[N,8,10]',
      q: 'float32[N,8,10]',
    });
  });

  it('knows the element type, but no shape, of what a Loop carries', async () => {
    const m = model`opset 17 (float32[2,4] x, int64 n) => (y) {
      yes: bool = 1
      y = Loop<body = (i, c, v) => (c2, v2) {
        c2 = Identity(c)
        v2 = Concat<axis=0>(v, v)
        j = Neg(i)
      }>(n, yes, x)
    }`;
    expect(await inferred(m)).toMatchObject({ v2: 'float32', c2: 'bool[]', j: 'int64[]' });
  });

  it('does not need the weights themselves', async () => {
    const m = model`opset 17 (float32[N,100] x) => (y) { w: float32[100,50] = random() y = MatMul(x, w) }`;
    const stored = m.graph.initializers.get('w');
    if (stored === undefined) throw new Error('no weight');
    const source = { kind: 'external', file: '/nowhere', offset: 0, length: 20_000 } as const;
    const absent = { ...m, graph: { ...m.graph, initializers: new Map([['w', { ...stored, source }]]) } };
    expect(await inferred(absent)).toMatchObject({ y: 'float32[N,50]' });
  });
});
