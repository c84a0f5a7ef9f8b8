/** Factorizations of symmetric matrices in float64, row-major. */
import { FxqError } from '../core/index.js';

/**
 * Lower Cholesky factor L of a positive definite matrix, A = LLᵀ.
 *
 * @throws FxqError E_INTERNAL when a pivot is not positive; dampen the matrix first
 */
export function cholesky(a: Float64Array, n: number): Float64Array {
  const l = new Float64Array(n * n);
  for (let i = 0; i < n; i++) {
    for (let j = 0; j <= i; j++) {
      let sum = a[i * n + j] as number;
      for (let k = 0, x = i * n, y = j * n; k < j; k++) sum -= (l[x++] as number) * (l[y++] as number);
      if (i !== j) l[i * n + j] = sum / (l[j * n + j] as number);
      else if (sum > 0) l[i * n + i] = Math.sqrt(sum);
      else throw new FxqError('E_INTERNAL', `internal: pivot ${i} of a Cholesky factorization is ${sum}`);
    }
  }
  return l;
}

/** Inverse of a lower triangular matrix. */
export function invertLower(l: Float64Array, n: number): Float64Array {
  const inverse = new Float64Array(n * n);
  for (let i = 0; i < n; i++) {
    const pivot = 1 / (l[i * n + i] as number);
    // Row i of L⁻¹ is (e_i − Σ_{k<i} L_ik · row k) / L_ii; rows are contiguous, so the sum runs along memory.
    const row = inverse.subarray(i * n, i * n + i);
    for (let k = 0; k < i; k++) {
      const factor = (l[i * n + k] as number) * pivot;
      if (factor === 0) continue;
      for (let j = 0, at = k * n; j <= k; j++)
        row[j] = (row[j] as number) - factor * (inverse[at++] as number);
    }
    inverse[i * n + i] = pivot;
  }
  return inverse;
}

/**
 * Upper Cholesky factor U of the inverse, A⁻¹ = UᵀU.
 *
 * With J the exchange matrix, JAJ = LLᵀ gives A⁻¹ = (JL⁻¹J)ᵀ(JL⁻¹J), and JL⁻¹J is upper triangular.
 */
export function inverseUpperFactor(a: Float64Array, n: number): Float64Array {
  const size = n * n;
  const reversed = new Float64Array(size);
  for (let i = 0; i < size; i++) reversed[i] = a[size - 1 - i] as number;
  const inverse = invertLower(cholesky(reversed, n), n);
  return inverse.reverse();
}

/** Solves Ax = b given the lower factor of A. */
export function solveCholesky(l: Float64Array, n: number, b: ArrayLike<number>): Float64Array {
  const x = Float64Array.from(b);
  for (let i = 0; i < n; i++) {
    let sum = x[i] as number;
    for (let k = 0; k < i; k++) sum -= (l[i * n + k] as number) * (x[k] as number);
    x[i] = sum / (l[i * n + i] as number);
  }
  for (let i = n - 1; i >= 0; i--) {
    let sum = x[i] as number;
    for (let k = i + 1; k < n; k++) sum -= (l[k * n + i] as number) * (x[k] as number);
    x[i] = sum / (l[i * n + i] as number);
  }
  return x;
}

/** X·A for X [m × n] and a symmetric A [n × n]; four rows at a time, so that A is read once for them. */
export function multiply(x: ArrayLike<number>, a: Float64Array, m: number, n: number): Float64Array {
  const y = new Float64Array(m * n);
  let r = 0;
  for (; r + 4 <= m; r += 4) {
    const [r0, r1, r2, r3] = [r * n, (r + 1) * n, (r + 2) * n, (r + 3) * n];
    for (let k = 0; k < n; k++) {
      const x0 = x[r0 + k] as number;
      const x1 = x[r1 + k] as number;
      const x2 = x[r2 + k] as number;
      const x3 = x[r3 + k] as number;
      for (let j = 0, at = k * n; j < n; j++, at++) {
        const v = a[at] as number;
        y[r0 + j] = (y[r0 + j] as number) + x0 * v;
        y[r1 + j] = (y[r1 + j] as number) + x1 * v;
        y[r2 + j] = (y[r2 + j] as number) + x2 * v;
        y[r3 + j] = (y[r3 + j] as number) + x3 * v;
      }
    }
  }
  for (; r < m; r++) {
    for (let k = 0; k < n; k++) {
      const xk = x[r * n + k] as number;
      for (let j = 0, at = k * n, to = r * n; j < n; j++, at++, to++)
        y[to] = (y[to] as number) + xk * (a[at] as number);
    }
  }
  return y;
}

/** Σ x_i y_i. */
export function dot(x: ArrayLike<number>, y: ArrayLike<number>): number {
  let sum = 0;
  for (let i = 0; i < x.length; i++) sum += (x[i] as number) * (y[i] as number);
  return sum;
}
