/** Gradient rules of reductions and softmax. */
import { describe, it } from 'vitest';
import { expectGradient, node, normal, positive, spaced, unknownSize } from '../expect-gradient.js';

const REDUCTIONS = {
  reduceSum: normal,
  reduceMean: normal,
  reduceMax: spaced,
  reduceMin: spaced,
  reduceProd: positive,
  reduceL1: spaced,
  reduceL2: positive,
  reduceSumSquare: normal,
  reduceLogSumExp: normal,
} as const;

describe('gradients of reductions', () => {
  for (const [name, draw] of Object.entries(REDUCTIONS)) {
    const reduce = name as keyof typeof REDUCTIONS;
    const options = { draw, points: 1 };
    it(`${name} of an axis`, () => expectGradient((p, x) => p[reduce](x, [1]), [[2, 3, 2]], options));
    it(`${name} of two axes, kept`, () =>
      expectGradient((p, x) => p[reduce](x, [0, -1], true), [[2, 3, 2]], options));
    it(`${name} of all axes`, () => expectGradient((p, x) => p[reduce](x), [[2, 3]], options));
  }
  it('ReduceLogSum', () =>
    expectGradient((p, x) => node(p, 'ReduceLogSum', [x, p.int64s([1])], [2, 1]), [[2, 3]], {
      draw: positive,
    }));
  it('ReduceMean of sizes known only when running', () =>
    expectGradient((p, x) => unknownSize(p, x, (v) => p.reduceMean(v, [1]), [2], 0), [[2, 3]], {
      dtype: 'float64',
    }));
  it('nothing, without axes, where that is asked for', () =>
    expectGradient(
      (p, x) => node(p, 'ReduceSum', [x, p.int64s([])], [2, 3], { noop_with_empty_axes: 1 }),
      [[2, 3]],
    ));
  for (const reverse of [0, 1]) {
    it(`CumSum${reverse ? ', reversed and exclusive' : ''}`, () =>
      expectGradient(
        (p, x) => node(p, 'CumSum', [x, p.scalar(1, 'int64')], [2, 4], { reverse, exclusive: reverse }),
        [[2, 4]],
      ));
  }
  it('ties share the gradient of a maximum', () =>
    expectGradient((p, x) => p.reduceMax(p.concat([x, x], 0), [0]), [[1, 3]], {
      draw: spaced,
      closedForm: (_x, g) => [g],
    }));
});

describe('gradients of softmax', () => {
  const f64 = { dtype: 'float64' } as const;
  for (const axis of [0, 1, -1]) {
    it(`Softmax along ${axis}`, () => expectGradient((p, x) => p.softmax(x, axis), [[2, 3, 4]], f64));
    it(`LogSoftmax along ${axis}`, () => expectGradient((p, x) => p.logSoftmax(x, axis), [[2, 3, 4]], f64));
  }
  it('cross-entropy has the gradient softmax − target', () =>
    expectGradient((p, x) => p.neg(p.reduceSum(p.mul(p.logSoftmax(x), p.constant(target)))), [[1, 3]], {
      ...f64,
      closedForm: ([x], g) => {
        const e = Float64Array.from(x as Float64Array, Math.exp);
        const sum = e.reduce((a, b) => a + b);
        return [e.map((v, i) => (g[0] ?? 0) * (v / sum - (i === 1 ? 1 : 0)))];
      },
    }));
});

const target = { dtype: 'float64', dims: [1, 3], data: Float64Array.from([0, 1, 0]) } as const;
