import { describe, expect, it } from 'vitest';
import { formatModel, formatNode, parseModel, serializeModel } from '../../src/onnx/index.js';
import { toNumbers } from '../../src/tensor/index.js';
import { dedent } from '../helpers/equivalence.js';
import { model, parseText } from '../helpers/model.js';

/** Text in its printed form: reading and printing give it back. */
function expectPrinted(text: string): void {
  const expected = dedent(text);
  const read = parseText(expected);
  expect(formatModel(read, { names: /= \[\w/.test(text) })).toBe(expected);
  // What is printed does not depend on where the model came from.
  expect(formatModel(parseModel(serializeModel(read)), { names: /= \[\w/.test(text) })).toBe(expected);
}

describe('graphs', () => {
  it('prints values, initializers and nodes', () =>
    expectPrinted(`
      opset 17
      (float32[N,3,8,?] x) => (float32[N,4,8,?] y) {
        b: float32[4] = {1, -2.5, 0.1, 1e-7}
        s: int64 = {9007199254740993}
        c = Conv<pads=[1, 1, 1, 1], alpha=1.0>(x, s, b)
        y = Relu(c)
      }`));

  it('prints scalars, unknown ranks and undeclared types', () =>
    expectPrinted(`
      opset 21
      (float32 a, float16[] b, string[2] c) => (d, e) {
        d = Identity(a)
        e = Identity(c)
      }`));

  it('prints an empty graph', () => expectPrinted('opset 13\n(int64[2] x) => (int64[2] x) {}'));

  it('prints omitted inputs, several outputs and other domains', () =>
    expectPrinted(`
      opset 17, com.microsoft 1
      (float32[N] x) => (y) {
        y, _, m = Dropout(x, _, x)
        z = com.microsoft:Gelu(m)
      }`));

  it('prints every kind of attribute', () =>
    expectPrinted(`
      opset 17
      () => () {
        y = Everything<i=-3, f=0.5, g=1.0, h=-inf, n=nan, s="a \\"b\\"", is=[1, 2], fs=[0.0, 1.5], ss=["p", "q"], e: ints = [], k: floats = [], t=int8[2] {-1, 2}, u=string[1] {"é"}, r=@alpha>()
      }`));

  it('prints subgraphs indented', () =>
    expectPrinted(`
      opset 17
      (bool c, float32[N] x) => (y) {
        y = If<then_branch=() => (float32[N] a) {
          a = Relu(x)
        }, else_branch=() => (b) {
          k: float32[1] = {2}
          b = Mul(x, k)
        }>(c)
      }`));

  it('quotes names that are not plain', () =>
    expectPrinted(`
      opset 17
      (float32["a b",batch_size] "1") => (/model.0/out_0) {
        onnx::Conv_7: float16[2] = {0.5, 65504}
        /model.0/out_0 = Add("1", onnx::Conv_7)
      }`));

  it('prints node names when asked', () =>
    expectPrinted(`
      opset 17
      (float32[2] x) => (y) {
        y = [relu/1] Relu(x)
      }`));

  it('leaves out the elements of larger tensors', () => {
    const m = model`
      opset 17
      (float32[2] x) => (y) {
        w: float32[9] = range()
        y = Add<t=int8[3] {1, 2, 3}>(x, w)
      }`;
    expect(formatModel(m, { elements: 2 })).toBe(
      dedent(`
        opset 17
        (float32[2] x) => (y) {
          w: float32[9]
          y = Add<t=int8[3]>(x, w)
        }`),
    );
  });
});

describe('model``', () => {
  it('names nodes after operator and output', () => {
    const [node] = model`opset 17 (float32[2] x) => (y) { y = Relu(x) }`.graph.nodes;
    expect(node?.name).toBe('Relu_y');
    expect(node && formatNode(node)).toBe('y = Relu(x)');
  });

  it('fills tensors repeatably', () => {
    const text = `opset 17 () => () {
      a: float32[3] = random()
      b: float32[3] = random(seed=7)
      c: float32[3] = random(seed=7)
      d: int8[50] = random(low=-3, high=4)
      e: uint8[3] = range(start=1, step=2)
      f: bool[2] = full(value=1)
      g: float32 = 0.5
    }`;
    const tensors = [parseText(text), parseText(text)].map((m) =>
      [...m.graph.initializers.values()].map((t) =>
        t.source.kind === 'memory' ? toNumbers(t.source.tensor) : [],
      ),
    );
    const [a = [], b, c, d = [], e, f, g] = tensors[0] ?? [];
    expect(tensors[1]).toEqual(tensors[0]);
    expect(b).toEqual(c);
    expect(a).not.toEqual(b);
    expect([Math.min(...d), Math.max(...d)]).toEqual([-3, 3]);
    expect([e, f, g]).toEqual([[1, 3, 5], [1, 1], [0.5]]);
  });

  it('takes interpolated values', () => {
    const m = model`opset ${19} (float32[${4}] x) => (y) { y = Pool<pads=[${[1, 2]}]>(x) }`;
    expect(formatModel(m)).toBe('opset 19\n(float32[4] x) => (y) {\n  y = Pool<pads=[1, 2]>(x)\n}');
  });

  it.each([
    ['opset 17 (float32[2] x => (y) {}', "expected ',', found '=>'"],
    ['opset 17 () => () { w: float32[2] = {1} }', 'expected 2 elements'],
    ['opset 17\n() => () {\n y = Relu(x }', 'line 3'],
    ['opset 17 () => () { y = A;b() }', 'cannot read'],
  ])('refuses %s', (text, message) => expect(() => parseText(text)).toThrow(message));
});
