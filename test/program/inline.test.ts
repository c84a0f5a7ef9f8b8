/** Parts of a user's model, differentiated by the same rules. */
import { describe, expect, it } from 'vitest';
import { createRng } from '../../src/core/index.js';
import { inferValueTypes, openSession } from '../../src/engine/index.js';
import { graph, loadTensor, model, node, readModel, value, type Model } from '../../src/onnx/index.js';
import { convertOpset } from '../../src/rewrite/index.js';
import {
  createProgram,
  gradients,
  inlineModel,
  openProgram,
  pullBack,
  runProgram,
} from '../../src/program/index.js';
import { tensor, type Tensor } from '../../src/tensor/index.js';

/** Logits as the runtime computes them, and their gradients by a weight and the input against central differences. */
async function checkWeight(file: string, weightName: string, part: { output: string }): Promise<void> {
  const { model: source } = await convertOpset(readModel(file), 21);
  const types = await inferValueTypes(source);
  const stored = source.graph.initializers.get(weightName);
  if (stored === undefined) throw new Error(`no ${weightName}`);
  const w = loadTensor(stored);
  const rng = createRng(11);
  const random = (dims: readonly number[], scale = 1): Tensor =>
    tensor(
      'float32',
      dims,
      Float32Array.from({ length: dims.reduce((a, b) => a * b, 1) }, () => scale * rng.normal()),
    );
  const x = random([3, 1, 28, 28]);

  const p = createProgram();
  const input = p.input('x', 'float32', ['batch', 1, 28, 28]);
  const weight = p.input('w', 'float32', w.dims);
  const { [part.output]: y } = inlineModel(p, source, [part.output], {
    types,
    bind: { input, [weightName]: weight },
  });
  if (y === undefined) throw new Error('no output');
  const g = random([3, 10]);
  const program = await openProgram(p, { y, slopes: pullBack(p, [[y, p.constant(g)]], { input, weight }) });
  const at = (wv: Tensor, xv: Tensor) => program.run({ w: wv, x: xv });
  const project = (t: Tensor): number =>
    (t.data as Float32Array).reduce((sum, v, i) => sum + v * ((g.data[i] as number) ?? 0), 0);

  const result = await at(w, x);
  const session = await openSession(source);
  const expected = (await session.run({ input: x })).get(part.output);
  await session.release();
  expect(result.y.data as Float32Array).toBeAllclose(expected?.data as Float32Array, {
    atol: 1e-4,
    rtol: 1e-4,
  });

  for (const [name, base, slope] of [
    ['w', w, result.slopes.weight],
    ['x', x, result.slopes.input],
  ] as const) {
    // Along the gradient itself, where the slope is its length: large beside the noise of kinks and of float32.
    const length = Math.hypot(...(slope.data as Float32Array));
    const direction = (slope.data as Float32Array).map((v) => v / length);
    const moved = (step: number): Tensor =>
      tensor(
        'float32',
        base.dims,
        Float32Array.from(base.data as Float32Array, (v, i) => v + step * (direction[i] ?? 0)),
      );
    const f = async (step: number) =>
      project((name === 'w' ? await at(moved(step), x) : await at(w, moved(step))).y);
    const step = 2e-4;
    const difference = ((await f(step)) - (await f(-step))) / (2 * step);
    expect(Math.abs(length / difference - 1), `by ${name}: ${length} beside ${difference}`).toBeLessThan(
      0.02,
    );
  }
  await program.release();
}

describe('the gradient of a whole model', () => {
  it('CNN, by a convolution and its input', () =>
    checkWeight('fixtures/fashion-cnn/cnn.onnx', 'block2/conv2.conv.weight', { output: 'logits' }));
  it('CNN, by a depthwise convolution', () =>
    checkWeight('fixtures/fashion-cnn/cnn.onnx', 'block4/depthwise.conv.weight', { output: 'logits' }));
  it('vision transformer, by its patch embedding', async () => {
    const source = readModel('fixtures/fashion-vit/vit.onnx');
    const name = source.graph.nodes.find((n) => n.opType === 'Conv')?.inputs[1] ?? '';
    await checkWeight('fixtures/fashion-vit/vit.onnx', name, { output: 'logits' });
  });
});

it('gradients of all weights of the CNN have the same bytes with one thread and with two', async () => {
  const { model: source } = await convertOpset(readModel('fixtures/fashion-cnn/cnn.onnx'), 21);
  const types = await inferValueTypes(source);
  const rng = createRng(5);
  const image = Float32Array.from({ length: 16 * 784 }, () => rng.normal());
  const slopes = async (threads: number) => {
    const p = createProgram();
    const input = p.constant(tensor('float32', [16, 1, 28, 28], image));
    const weights = Object.fromEntries(
      [...source.graph.initializers]
        .filter(([, stored]) => stored.dims.length > 0)
        .map(([name, stored]) => [name, p.constant(loadTensor(stored))]),
    );
    const { logits } = inlineModel(p, source, ['logits'], { types, bind: { input, ...weights } });
    if (logits === undefined) throw new Error('no output');
    const loss = p.reduceMean(p.square(logits));
    return runProgram(p, gradients(p, loss, weights), {}, { threads });
  };
  expect(await slopes(2)).toEqual(await slopes(1));
});

describe('inlined parts', () => {
  const tiny = (opset: number): Model =>
    model(
      graph({
        inputs: [value('input', 'float32', ['N', 4])],
        outputs: [value('out', 'float32', ['N', 1])],
        nodes: [
          node('MatMul', ['input', 'w'], ['h']),
          node('Split', ['h'], ['a', 'b'], { axis: 1, num_outputs: 2 }),
          node('Mul', ['a', 'b'], ['c']),
          node('ReduceMean', ['c', 'axes'], ['out']),
          node('NonMaxSuppression', ['c', 'c'], ['unused'], {}, { name: 'beyond the part' }),
        ],
        initializers: [
          ['w', tensor('float32', [4, 4])],
          ['axes', tensor('int64', [1], [1])],
        ],
      }),
      opset,
    );
  const types = new Map(
    Object.entries({ h: 4, a: 2, b: 2, c: 2, out: 1, input: 4 }).map(([name, n]) => [
      name,
      { dtype: 'float32' as const, dims: ['N', n] },
    ]),
  );

  it('stop at what is bound, and take its sizes', async () => {
    const p = createProgram();
    const h = p.constant(tensor('float32', [2, 4], [1, 2, 3, 4, 5, 6, 7, 8]));
    const { out } = inlineModel(p, tiny(18), ['out'], { types, bind: { h } });
    expect(out?.dims).toEqual([2, 1]);
    if (out === undefined) throw new Error('no output');
    const program = await openProgram(p, { out, slope: pullBack(p, [[out, p.full([2, 1], 1)]], h) });
    const result = await program.run({});
    expect(Array.from(result.out.data as Float32Array)).toEqual([5.5, 41.5]);
    expect(Array.from(result.slope.data as Float32Array)).toEqual([1.5, 2, 0.5, 1, 3.5, 4, 2.5, 3]);
    await program.release();
  });
  it('are refused before operators have the form of a program', () => {
    const p = createProgram();
    expect(() => inlineModel(p, tiny(17), ['out'], { types, bind: {} })).toThrow(/opset 18 or later/);
  });
  it('name an input that is not bound', () => {
    const p = createProgram();
    expect(() => inlineModel(p, tiny(18), ['out'], { types, bind: {} })).toThrow(/MatMul.*reads 'input'/);
  });
});
