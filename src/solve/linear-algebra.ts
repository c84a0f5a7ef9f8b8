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

/** X·A for X [m × n] and a symmetric A [n × n]; blocks of four rows by two columns, so that sums stay in registers. */
export function multiply(x: ArrayLike<number>, a: Float64Array, m: number, n: number): Float64Array {
  const y = new Float64Array(m * n);
  const [wholeRows, wholeColumns] = [m - (m % 4), n - (n % 2)];
  for (let j = 0; j < wholeColumns; j += 2) {
    const [a0, a1] = [j * n, (j + 1) * n];
    for (let r = 0; r < wholeRows; r += 4) {
      const [r0, r1, r2, r3] = [r * n, (r + 1) * n, (r + 2) * n, (r + 3) * n];
      let [s00, s01, s10, s11, s20, s21, s30, s31] = [0, 0, 0, 0, 0, 0, 0, 0];
      for (let k = 0; k < n; k++) {
        const u = a[a0 + k] as number;
        const v = a[a1 + k] as number;
        const x0 = x[r0 + k] as number;
        const x1 = x[r1 + k] as number;
        const x2 = x[r2 + k] as number;
        const x3 = x[r3 + k] as number;
        s00 += x0 * u;
        s01 += x0 * v;
        s10 += x1 * u;
        s11 += x1 * v;
        s20 += x2 * u;
        s21 += x2 * v;
        s30 += x3 * u;
        s31 += x3 * v;
      }
      y[r0 + j] = s00;
      y[r0 + j + 1] = s01;
      y[r1 + j] = s10;
      y[r1 + j + 1] = s11;
      y[r2 + j] = s20;
      y[r2 + j + 1] = s21;
      y[r3 + j] = s30;
      y[r3 + j + 1] = s31;
    }
  }
  for (let r = 0; r < m; r++)
    for (let j = r < wholeRows ? wholeColumns : 0; j < n; j++) {
      let sum = 0;
      for (let k = 0; k < n; k++) sum += (x[r * n + k] as number) * (a[j * n + k] as number);
      y[r * n + j] = sum;
    }
  return y;
}

/** y += factor · row `c` of A; unrolled, because this is the inner loop of descent and GPTQ. */
export function addRow(y: Float64Array, factor: number, a: Float64Array, c: number): void {
  const n = y.length;
  const whole = n - (n % 4);
  let at = c * n;
  for (let j = 0; j < whole; j += 4, at += 4) {
    y[j] = (y[j] as number) + factor * (a[at] as number);
    y[j + 1] = (y[j + 1] as number) + factor * (a[at + 1] as number);
    y[j + 2] = (y[j + 2] as number) + factor * (a[at + 2] as number);
    y[j + 3] = (y[j + 3] as number) + factor * (a[at + 3] as number);
  }
  for (let j = whole; j < n; j++, at++) y[j] = (y[j] as number) + factor * (a[at] as number);
}

/** Σ x_i y_i. */
export function dot(x: ArrayLike<number>, y: ArrayLike<number>): number {
  let sum = 0;
  for (let i = 0; i < x.length; i++) sum += (x[i] as number) * (y[i] as number);
  return sum;
}
