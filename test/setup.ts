/** Matchers every test may use. */
import { expect } from 'vitest';

interface Tolerance {
  readonly atol: number;
  readonly rtol: number;
}

expect.extend({
  /** Element-wise |actual − expected| ≤ atol + rtol·|expected|; tolerances must be given. */
  toBeAllclose(actual: ArrayLike<number>, expected: ArrayLike<number>, { atol, rtol }: Tolerance) {
    const wrong: number[] = [];
    const n = Math.max(actual.length, expected.length);
    let worst = 0;
    for (let i = 0; i < n; i++) {
      const a = actual[i] ?? NaN;
      const e = expected[i] ?? NaN;
      if (Object.is(a, e) || a === e) continue;
      const off = Math.abs(a - e);
      if (!(off <= atol + rtol * Math.abs(e))) wrong.push(i);
      if (off > worst) worst = off;
    }
    return {
      pass: wrong.length === 0,
      message: () =>
        `${wrong.length} of ${n} elements differ (worst by ${worst}); first at ${wrong[0]}: ` +
        `${actual[wrong[0] ?? 0]} instead of ${expected[wrong[0] ?? 0]}`,
      actual: Array.from(actual).slice(0, 64),
      expected: Array.from(expected).slice(0, 64),
    };
  },
});

declare module 'vitest' {
  // eslint-disable-next-line @typescript-eslint/no-unused-vars
  interface Assertion<T> {
    toBeAllclose(expected: ArrayLike<number>, tolerance: Tolerance): void;
  }
}
