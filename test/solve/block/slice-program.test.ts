/** Slices of a quantized network: forward as the runtime rounds, backward straight through where values lie on the grid. */
import { describe, expect, it } from 'vitest';
import { openSession } from '../../../src/engine/index.js';
import { graph, model, node, storeTensor, value } from '../../../src/onnx/index.js';
import { createProgram, gradients, runProgram, type Value } from '../../../src/program/index.js';
import { cutSlice, inlineSlice, type Keeps } from '../../../src/solve/block/slice-program.js';
import { tensor, toFloat32, type Tensor } from '../../../src/tensor/index.js';

/** y = tanh(Q(x)) · w, Q with 8 steps of 0.25 around 0. */
const network = model(
  graph({
    name: 'g',
    inputs: [value('x', 'float32', ['N', 4])],
    outputs: [value('y', 'float32', ['N', 2])],
    nodes: [
      node('Clip', ['x', 'low', 'high'], ['clipped'], {}, { name: 'clip' }),
      node('QuantizeLinear', ['clipped', 's', 'z'], ['q'], {}, { name: 'q' }),
      node('DequantizeLinear', ['q', 's', 'z'], ['xq'], {}, { name: 'dq' }),
      node('Tanh', ['xq'], ['t'], {}, { name: 'tanh' }),
      node('MatMul', ['t', 'w'], ['y'], {}, { name: 'dense' }),
    ],
    initializers: [
      ['low', storeTensor(tensor('float32', [], [-1]))],
      ['high', storeTensor(tensor('float32', [], [0.75]))],
      ['s', storeTensor(tensor('float32', [], [0.25]))],
      ['z', storeTensor(tensor('int8', [], [0]))],
      ['w', storeTensor(tensor('float32', [4, 2], [1, 2, -1, 0.5, 3, -2, 0.1, 1]))],
    ],
  }),
  21,
);
const x = tensor('float32', [2, 4], [0.1, -0.4, 0.62, 5, -3, 0, 0.3, 0.7]);

/** The output, and the gradient of its sum by x. */
async function run(keeps?: Keeps): Promise<{ y: number[]; slope: number[] }> {
  const slice = await cutSlice(network, new Map([['x', { dtype: 'float32', dims: [2, 4] }]]), ['y']);
  expect(slice.quantizers).toEqual(['xq']);
  const p = createProgram();
  const input = p.input('given', 'float32', [2, 4]);
  const { y } = inlineSlice(p, slice, { x: input }, keeps) as { y: Value };
  const { slope } = gradients(p, p.reduceSum(y), { slope: input });
  const found = await runProgram<{ y: Value; slope: Value }, { y: Tensor; slope: Tensor }>(
    p,
    { y, slope },
    { given: x },
  );
  return { y: Array.from(toFloat32(found.y)), slope: Array.from(toFloat32(found.slope)) };
}

const rowSums = [3, -0.5, 1, 1.1];
const round = (v: number): number => Math.min(Math.max(Math.round(v / 0.25) * 0.25, -1), 0.75);
const tanhSlope = (v: number): number => 1 - Math.tanh(v) ** 2;

describe('inlineSlice', () => {
  it('rounds exactly as the runtime does', async () => {
    const session = await openSession(network);
    const expected = (await session.run({ x })).get('y') ?? tensor('float32', [0]);
    await session.release();
    expect((await run()).y).toEqual(Array.from(toFloat32(expected)));
  });

  it('passes gradients through the rounding, and none beyond the grid', async () => {
    const { slope } = await run();
    const values = Array.from(toFloat32(x));
    values.forEach((v, i) => {
      const inside = v >= -1 && v <= 0.75;
      expect(slope[i]).toBeCloseTo(inside ? (rowSums[i % 4] ?? 0) * tanhSlope(round(v)) : 0, 5);
    });
  });

  it('leaves elements float that are let go', async () => {
    // Every second element keeps the rounded value. What is let go is the value behind the clip.
    const kept = [1, 0, 1, 0, 1, 0, 1, 0];
    const { y, slope } = await run((p) => p.constant(tensor('bool', [2, 4], Uint8Array.from(kept))));
    const seen = Array.from(toFloat32(x), (v, i) =>
      kept[i] === 1 ? round(v) : Math.min(Math.max(v, -1), 0.75),
    );
    const w = [1, 2, -1, 0.5, 3, -2, 0.1, 1];
    [0, 1].forEach((row) =>
      [0, 1].forEach((col) => {
        const sum = [0, 1, 2, 3].reduce(
          (s, i) => s + Math.tanh(seen[row * 4 + i] ?? 0) * (w[i * 2 + col] ?? 0),
          0,
        );
        expect(y[row * 2 + col]).toBeCloseTo(sum, 5);
      }),
    );
    expect(slope[1]).toBeCloseTo(-0.5 * tanhSlope(-0.4), 5);
    expect(slope[3]).toBe(0);
  });
});
