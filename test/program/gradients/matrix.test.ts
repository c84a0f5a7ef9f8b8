/** Gradient rules of matrix products. */
import { describe, expect, it } from 'vitest';
import { createProgram, pullBack } from '../../../src/program/index.js';
import { expectGradient, node, type GradientCase } from '../expect-gradient.js';

describe('gradients of MatMul', () => {
  const f64: GradientCase = { dtype: 'float64' };
  const check = (a: readonly number[], b: readonly number[]) =>
    it(`[${a.join()}] × [${b.join()}]`, () => expectGradient((p, x, y) => p.matmul(x, y), [a, b], f64));
  check([3, 4], [4, 2]);
  check([2, 3, 4], [2, 4, 2]);
  check([2, 3, 4], [4, 2]);
  check([3, 4], [2, 4, 2]);
  check([2, 1, 3, 4], [3, 4, 2]);
  check([4], [4, 2]);
  check([3, 4], [4]);
  check([4], [4]);
  check([2, 3, 4], [4]);
  it('has dA = G·Bᵀ', () =>
    expectGradient(
      (p, x, y) => p.matmul(x, y),
      [
        [1, 2],
        [2, 2],
      ],
      {
        ...f64,
        closedForm: ([, b], g) => [
          [0, 1].map((k) => (g[0] ?? 0) * (b?.[2 * k] ?? 0) + (g[1] ?? 0) * (b?.[2 * k + 1] ?? 0)),
        ],
      },
    ));
});

describe('gradients of Gemm', () => {
  for (const transA of [false, true]) {
    for (const transB of [false, true]) {
      const a = transA ? [4, 3] : [3, 4];
      const b = transB ? [2, 4] : [4, 2];
      const options = { transA, transB, alpha: 0.75, beta: 1.25 };
      it(`${transA ? 'Aᵀ' : 'A'}${transB ? 'Bᵀ' : 'B'} + row`, () =>
        expectGradient((p, x, y, c) => p.gemm(x, y, c, options), [a, b, [2]], { dtype: 'float64' }));
    }
  }
  it('without C, and with a column as C', async () => {
    await expectGradient(
      (p, x, y) => p.gemm(x, y),
      [
        [3, 4],
        [4, 2],
      ],
    );
    await expectGradient(
      (p, x, y, c) => p.gemm(x, y, c),
      [
        [3, 4],
        [4, 2],
        [3, 1],
      ],
    );
  });
});

describe('gradients of Einsum', () => {
  const check = (equation: string, shapes: readonly (readonly number[])[], dims: readonly number[]) =>
    it(equation, () =>
      expectGradient((p, ...x) => node(p, 'Einsum', x, dims, { equation }), shapes, { dtype: 'float64' }),
    );
  check(
    'bij,bjk->bik',
    [
      [2, 3, 4],
      [2, 4, 2],
    ],
    [2, 3, 2],
  );
  check(
    'bhqd, bhkd -> bhqk',
    [
      [1, 2, 3, 2],
      [1, 2, 2, 2],
    ],
    [1, 2, 3, 2],
  );
  check('ij->ji', [[2, 3]], [3, 2]);
  check('ij,k->k', [[2, 3], [2]], [2]);
  check('i,ij,j->', [[2], [2, 3], [3]], []);

  it('refuse what they do not know', () => {
    const p = createProgram();
    const x = p.input('x', 'float32', [2, 2]);
    const y = node(p, 'Einsum', [x], [2], { equation: 'ii->i' });
    expect(() => pullBack(p, [[y, y]], x)).toThrow(/equation 'ii->i' of Einsum/);
  });
});
