import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { createContext, type FxqError } from '../../src/core/index.js';
import {
  checkModel,
  formatModel,
  opsetOf,
  readModel,
  serializeModel,
  type Model,
} from '../../src/onnx/index.js';
import { PASSES, prepare } from '../../src/rewrite/index.js';
import { expectEquivalent, type Tolerance } from '../helpers/equivalence.js';
import { model, parseText } from '../helpers/model.js';

const ctx = createContext({ threads: 1 });

/** Float32 roundings along a few layers of activations of order 1 to 10. */
const ROUNDING: Tolerance = { atol: 5e-5, rtol: 1e-5 };

const opTypes = ({ graph }: Model): string[] => graph.nodes.map((n) => n.opType);

describe('prepare', () => {
  it('turns an exported block into layers', async () => {
    const before = model`opset 13 (float32[N,3,8,8] x) => (float32[N,10] logits) {
      w: float32[4,3,3,3] = random(scale=0.3)
      gamma: float32[4] = random(mean=1, scale=0.1)
      beta: float32[4] = random()
      mean: float32[4] = random()
      variance: float32[4] = random(low=0.5, high=2)
      head: float32[256,10] = random(scale=0.1)
      bias: float32[10] = random()
      c = Conv<pads=[1, 1, 1, 1]>(x, w)
      n = BatchNormalization(c, gamma, beta, mean, variance)
      k = Constant<value_float=1.5>()
      s = Mul(n, k)
      r = Relu(s)
      i = Identity(r)
      shape = Shape(i)
      zero = Constant<value_int=0>()
      batch = Gather(shape, zero)
      axes = Constant<value_ints=[0]>()
      first = Unsqueeze(batch, axes)
      rest = Constant<value_ints=[-1]>()
      target = Concat<axis=0>(first, rest)
      f = Reshape(i, target)
      m = MatMul(f, head)
      a = Add(m, bias)
      logits = Dropout(a)
    }`;
    const after = await prepare(before, ctx);
    expect(formatModel(after.model, { elements: 2 })).toBe(
      [
        'opset 13',
        '(float32[N,3,8,8] x) => (float32[N,10] logits) {',
        '  head: float32[256,10]',
        '  bias: float32[10]',
        '  target_folded: int64[2] = {0, -1}',
        '  w_folded_1: float32[4,3,3,3]',
        '  Conv_c_bias_folded_1: float32[4]',
        '  s = Conv<pads=[1, 1, 1, 1]>(x, w_folded_1, Conv_c_bias_folded_1)',
        '  r = Relu(s)',
        '  f = Reshape(r, target_folded)',
        '  logits = Gemm(f, head, bias)',
        '}',
      ].join('\n'),
    );
    expect(after.types.get('f')).toEqual({ dtype: 'float32', dims: ['N', 256] });
    await expectEquivalent(after.model, before, ROUNDING);
  });

  it('has nothing to do the second time, and gives the same bytes every time', async () => {
    const before = readModel('fixtures/fashion-vit/vit.onnx');
    const [once, again] = [await prepare(before, ctx), await prepare(before, ctx)];
    expect(serializeModel(again.model)).toEqual(serializeModel(once.model));
    const twice = await prepare(once.model, ctx);
    expect(twice.applied).toEqual([]);
    expect(serializeModel(twice.model)).toEqual(serializeModel(once.model));
  });

  it('raises the opset for Gelu, and only where that is allowed', async () => {
    const before = model`opset 17 (float32[N,4,8] x) => (float32[N,4,8] y) {
      w: float32[8,8] = random()
      root: float32 = 1.4142135
      one: float32 = 1
      half: float32 = 0.5
      d = Div(x, root) e = Erf(d) s = Add(e, one) p = Mul(x, s) g = Mul(p, half)
      y = MatMul(g, w)
    }`;
    const fused = await prepare(before, ctx);
    expect([opsetOf(fused.model), opTypes(fused.model)]).toEqual([20, ['Gelu', 'MatMul']]);
    const spelled = await prepare(before, ctx, { passes: { 'fuse-gelu': false } });
    // The last ½ stays, too: onnxruntime fuses the spelled-out form itself.
    expect([opsetOf(spelled.model), opTypes(spelled.model)]).toEqual([17, opTypes(before)]);
  });

  it('says why a model stays at its opset', async () => {
    const before = model`opset 17, my.domain 1 (float32[N,8] x) => (float32[N,8] y) {
      root: float32 = 1.4142135
      one: float32 = 1
      half: float32 = 0.5
      d = Div(x, root) e = Erf(d) s = Add(e, one) p = Mul(x, s) y = Mul(p, half)
    }`;
    const functions = [{ name: 'f', domain: 'my.domain', opsetImport: [{ domain: '', version: 17 }] }];
    const { model: after, notes } = await prepare({ ...before, rest: { functions } }, ctx);
    expect(opsetOf(after)).toBe(17);
    expect(notes.map((n) => n.message).join('\n')).toContain('Gelu stays spelled out');
  });

  it('fuses HardSwish on request', async () => {
    const before = model`opset 14 (float32[N,8] x) => (float32[N,8] y) {
      three: float32 = 3
      six: float32 = 6
      zero: float32 = 0
      a = Add(x, three) c = Clip(a, zero, six) p = Mul(x, c) y = Div(p, six)
    }`;
    expect(opTypes((await prepare(before, ctx)).model)).toEqual(['Add', 'Clip', 'Mul', 'Div']);
    const fused = await prepare(before, ctx, { passes: { 'fuse-hard-swish': true } });
    expect(opTypes(fused.model)).toEqual(['HardSwish']);
  });

  it('refuses a switch for a pass that does not exist, naming the nearest', async () => {
    const error: unknown = await prepare(model`opset 17 (float32 x) => (float32 y) { y = Neg(x) }`, ctx, {
      passes: { 'fuse-gellu': false },
    }).catch((e: unknown) => e);
    expect(error).toMatchObject({ code: 'E_CONFIG' });
    expect((error as FxqError).fix.join(' ')).toContain("'fuse-gelu'");
  });

  it('warns once about a default it fixes', async () => {
    const before = model`opset 17 (float32[2] x) => (float32[2] y) { w: float32[2] = {1, 2} y = Add(x, w) }`;
    const input = parseText('opset 17 (float32[2] w) => () {}').graph.inputs;
    const graph = { ...before.graph, inputs: [...before.graph.inputs, ...input] };
    const { notes } = await prepare({ ...before, graph }, ctx);
    expect(notes.map((n) => n.level)).toEqual(['warn']);
  });

  it('stops between passes when interrupted', async () => {
    const controller = new AbortController();
    controller.abort();
    const interrupted = createContext({ signal: controller.signal });
    await expect(
      prepare(model`opset 17 (float32 x) => (float32 y) { y = Neg(x) }`, interrupted),
    ).rejects.toMatchObject({ code: 'E_INTERRUPTED' });
  });

  it.each(['fashion-cnn/cnn.onnx', 'fashion-vit/vit.onnx'])('computes what %s computed', async (file) => {
    const before = readModel(`fixtures/${file}`);
    const after = await prepare(before, ctx);
    checkModel(after.model, file);
    expect(after.applied).not.toEqual([]);
    const values = after.model.graph.nodes.flatMap((n) => n.outputs).filter((name) => name !== '');
    expect(values.filter((name) => after.types.get(name)?.dims === undefined)).toEqual([]);
    await expectEquivalent(after.model, before, ROUNDING);
  });
});

it('every pass has a name of its own', () => {
  expect(new Set(PASSES.map((pass) => pass.name)).size).toBe(PASSES.length);
});

/** A node that may follow a layer of three channels at axis 1 of four, and its constants. */
const follower = fc
  .tuple(
    fc.constantFrom('Add', 'Sub', 'Mul', 'Div', 'BatchNormalization', 'Relu'),
    fc.constantFrom('', '[1]', '[3,1,1]', '[1,3,1,1]', '[1,3,5,5]', '[5]', '[1,1,1,1]'),
    fc.boolean(),
  )
  .map(([opType, shape, isLeft]) => (input: string, output: string): string => {
    if (opType === 'Relu') return `${output} = Relu(${input})`;
    if (opType === 'BatchNormalization')
      return `
        ${output}_g: float32[3] = random(mean=1, scale=0.2)
        ${output}_b: float32[3] = random()
        ${output}_v: float32[3] = random(low=0.5, high=2)
        ${output} = BatchNormalization(${input}, ${output}_g, ${output}_b, ${output}_b, ${output}_v)`;
    const constant = `${output}_c: float32${shape} = random(low=0.5, high=2)`;
    const operands = isLeft && opType !== 'Div' ? `${output}_c, ${input}` : `${input}, ${output}_c`;
    return `${constant}\n${output} = ${opType}(${operands})`;
  });

it('arithmetic of any kind around layers computes the same', async () => {
  const layers = [
    'Conv<pads=[1, 1, 1, 1]>(@, w)',
    'ConvTranspose<pads=[1, 1, 1, 1]>(@, w)',
    'Conv<group=3>(@, d)',
  ];
  await fc.assert(
    fc.asyncProperty(
      fc.array(follower, { maxLength: 2 }),
      fc.constantFrom(...layers),
      fc.array(follower, { minLength: 1, maxLength: 4 }),
      async (before, layer, after) => {
        const lines: string[] = [];
        let value = 'x';
        const push = (make: (input: string, output: string) => string): void => {
          const next = `v${lines.length}`;
          lines.push(make(value, next));
          value = next;
        };
        before.forEach(push);
        push((input, output) => `${output} = ${layer.replace('@', input)}`);
        after.forEach(push);
        const original = parseText(`opset 17 (float32[2,3,5,5] x) => (y) {
          w: float32[3,3,3,3] = random(scale=0.2)
          d: float32[3,1,1,1] = random()
          ${lines.join('\n')}
          y = Identity(${value})
        }`);
        const { model: prepared } = await prepare(original, ctx);
        // Up to six factors below 4 follow sums of 27 products.
        await expectEquivalent(prepared, original, { atol: 1e-3, rtol: 1e-4 });
      },
    ),
    { seed: 4, numRuns: 40 },
  );
});
