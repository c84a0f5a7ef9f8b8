/** The walk itself: accumulation, broadcasting, what it refuses. */
import { describe, expect, it } from 'vitest';
import { createProgram, gradients, loop, pullBack, runProgram } from '../../src/program/index.js';
import { expectGradient, node, unknownSize } from './expect-gradient.js';

const f64 = { dtype: 'float64' } as const;

describe('reverse mode', () => {
  it('adds what meets at a value', () =>
    expectGradient((p, x) => p.add(p.mul(x, p.exp(x)), p.mul(p.exp(x), x)), [[4]], f64));
  it('goes through intermediate targets', async () => {
    const p = createProgram();
    const x = p.vector([2, 3]);
    const y = p.square(x);
    const { slopes } = await runProgram(p, { slopes: gradients(p, p.reduceSum(p.mul(y, x)), { x, y }) });
    expect(Array.from(slopes.y.data as Float32Array)).toEqual([2, 3]);
    expect(Array.from(slopes.x.data as Float32Array)).toEqual([12, 27]);
  });
  it('gives zeros where nothing depends on a target', async () => {
    const p = createProgram();
    const [x, y] = [p.vector([1, 2]), p.vector([3, 4])];
    const { slope } = await runProgram(p, { slope: gradients(p, p.reduceSum(x), y) });
    expect(Array.from(slope.data as Float32Array)).toEqual([0, 0]);
  });
  it('differentiates gradients again', () =>
    expectGradient((p, x) => gradients(p, p.reduceSum(p.tanh(p.mul(x, p.sigmoid(x)))), x), [[3]], f64));
  it('counts what a mean averaged and a sum had broadcast', async () => {
    for (const row of [[2], [3, 1], []]) {
      await expectGradient((p, x, b) => p.reduceMean(p.exp(p.add(p.square(x), b))), [[3, 2], row], f64);
      await expectGradient((p, x, b) => p.reduceSum(p.add(x, b), [0], true), [[3, 2], row], f64);
    }
  });
  it('starts from several values', async () => {
    const p = createProgram();
    const x = p.vector([1, 2]);
    const [a, b] = [p.square(x), p.mul(x, 3)];
    const { slope } = await runProgram(p, {
      slope: pullBack(
        p,
        [
          [a, p.vector([1, 0])],
          [b, p.vector([1, 1])],
        ],
        x,
      ),
    });
    expect(Array.from(slope.data as Float32Array)).toEqual([5, 3]);
  });

  it('finds when running what was broadcast, where sizes are not known before', async () => {
    for (const [a, b] of [
      [
        [2, 3],
        [2, 3],
      ],
      [
        [2, 3],
        [1, 3],
      ],
      [
        [2, 1],
        [2, 3],
      ],
      [
        [4, 2, 3],
        [2, 1],
      ],
    ] as const) {
      const size = [...Array(Math.max(a.length, b.length)).keys()].map((i) =>
        Math.max(a[i - Math.max(0, b.length - a.length)] ?? 1, b[i - Math.max(0, a.length - b.length)] ?? 1),
      );
      await expectGradient((p, x, y) => unknownSize(p, x, (u) => p.mul(u, y), size, 0), [a, b], f64);
      await expectGradient((p, x, y) => unknownSize(p, y, (v) => p.sub(x, v), size, 0), [a, b], f64);
    }
  });

  it('names operator and node where a rule is missing', () => {
    const p = createProgram();
    const x = p.input('x', 'float32', [2, 2]);
    const y = node(p, 'Det', [p.square(x)], []);
    expect(() => gradients(p, y, x)).toThrow(/no gradient rule for operator Det of node Det 'Det_/);
    expect(() => gradients(p, y, p.input('z', 'float32', []))).not.toThrow();
  });
  it('does not pass over what a loop reads from outside', () => {
    const p = createProgram();
    const x = p.input('x', 'float32', []);
    const { state } = loop(p, p.scalar(1), 2, (b, s) => ({ state: b.mul(s, x) }));
    expect(() => gradients(p, state, x)).toThrow(/operator Loop of node/);
  });
  it('refuses half precision', () => {
    const p = createProgram();
    const x = p.input('x', 'float32', [2]);
    const half = p.cast(x, 'float16');
    expect(() => gradients(p, p.reduceSum(p.cast(half, 'float32')), x)).toThrow(/Cast.* computes float16/);
    expect(() => p.mul(half, 2)).toThrow(/do not compute in float16/);
  });
  it('refuses a loss that is not a scalar', () => {
    const p = createProgram();
    const x = p.input('x', 'float32', [2]);
    expect(() => gradients(p, x, x)).toThrow(/scalar, not float32\[2\]/);
  });
});

describe('the builder', () => {
  it('checks shapes where they are known', () => {
    const p = createProgram();
    const [a, b] = [p.input('a', 'float32', [2, 3]), p.input('b', 'float32', [4])];
    expect(() => p.add(a, b)).toThrow(/Add of float32\[2, 3\] and float32\[4\]/);
    expect(() => p.matmul(a, b)).toThrow(/MatMul of/);
    expect(p.add(a, p.input('c', 'float32', ['N', 1])).dims).toEqual([2, 3]);
  });
  it('drops what no output needs', async () => {
    const p = createProgram();
    const x = p.input('x', 'float32', [1]);
    p.matmul(p.input('unused', 'float32', [2, 2]), p.input('too', 'float32', [2, 2]));
    const { y } = await runProgram(
      p,
      { y: p.mul(x, 2) },
      { x: { dtype: 'float32', dims: [1], data: Float32Array.of(4) } },
    );
    expect((y.data as Float32Array)[0]).toBe(8);
  });
});
