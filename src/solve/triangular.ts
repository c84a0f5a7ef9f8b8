/** Blocked triangular factors of Gram matrices: small blocks in float64 loops, everything else products of matrices. */
import { cholesky } from './linear-algebra.js';
import { type Matrices } from './matrices.js';

/** H = UᵀU with columns and rows of H in some order. */
export interface TriangularFactor {
  /** Column of H at each place. */
  readonly order: Int32Array;
  /** U, upper triangular, [n × n]. */
  readonly upper: Float32Array;
}

/** Columns of one block: its own triangle is solved in loops. */
export const BLOCK = 32;

/** Below this size one factorization in float64 costs less than the calls of a blocked one. */
const SMALL = 96;

/**
 * Factor of a positive definite matrix.
 *
 * @param order column of H at each place
 * @throws FxqError E_INTERNAL when H is not positive definite; dampen it first
 */
export async function factorize(
  h: Float64Array,
  order: Int32Array,
  matrices: Matrices,
): Promise<TriangularFactor> {
  const n = order.length;
  const upper = n < SMALL ? undefined : await blocked(h, order, matrices);
  return { order, upper: upper ?? exact(h, order) };
}

/** U in float64, where a matrix is small, or too close to singular for products in float32. */
function exact(h: Float64Array, order: Int32Array): Float32Array {
  const n = order.length;
  const permuted = new Float64Array(n * n);
  for (let i = 0; i < n; i++)
    for (let j = 0; j < n; j++)
      permuted[i * n + j] = h[(order[i] as number) * n + (order[j] as number)] as number;
  const lower = cholesky(permuted, n);
  const upper = new Float32Array(n * n);
  for (let i = 0; i < n; i++) for (let j = 0; j <= i; j++) upper[j * n + i] = lower[i * n + j] as number;
  return upper;
}

/** Rows of U block by block, U_B = L_BB⁻¹ (H_B − U₀ᵀ_B U₀) with U₀ the rows before; undefined where a pivot is lost. */
async function blocked(
  h: Float64Array,
  order: Int32Array,
  matrices: Matrices,
): Promise<Float32Array | undefined> {
  const n = order.length;
  const upper = new Float32Array(n * n);
  for (let from = 0; from < n; from += BLOCK) {
    const size = Math.min(BLOCK, n - from);
    const known =
      from === 0
        ? undefined
        : await matrices.times(
            columnsTransposed(upper, n, from, size),
            upper.subarray(0, from * n),
            size,
            from,
            n,
          );
    const width = n - from;
    const panel = new Float64Array(size * width);
    for (let i = 0; i < size; i++) {
      const row = (order[from + i] as number) * n;
      for (let j = i; j < width; j++)
        panel[i * width + j] =
          (h[row + (order[from + j] as number)] as number) - (known?.[i * n + from + j] ?? 0);
    }
    if (!eliminate(panel, size, width)) return undefined;
    for (let i = 0; i < size; i++)
      for (let j = i; j < width; j++) upper[(from + i) * n + from + j] = panel[i * width + j] as number;
  }
  return upper;
}

/** The columns of a block of the rows above it, transposed: [size × from]. */
function columnsTransposed(upper: Float32Array, n: number, from: number, size: number): Float32Array {
  const out = new Float32Array(size * from);
  for (let k = 0; k < from; k++)
    for (let i = 0; i < size; i++) out[i * from + k] = upper[k * n + from + i] as number;
  return out;
}

/** Turns the rows of a block into rows of U, in place. False when a pivot is not clearly positive. */
function eliminate(panel: Float64Array, size: number, width: number): boolean {
  for (let i = 0; i < size; i++) {
    const own = panel.subarray(i * width, (i + 1) * width);
    const start = own[i] as number;
    let k = 0;
    // Two rows at a time halve the loads and stores of this row.
    for (; k + 1 < i; k += 2) {
      const [a, b] = [k * width, (k + 1) * width];
      const [f, g] = [panel[a + i] as number, panel[b + i] as number];
      for (let j = i; j < width; j++)
        own[j] = (own[j] as number) - f * (panel[a + j] as number) - g * (panel[b + j] as number);
    }
    for (; k < i; k++) {
      const f = panel[k * width + i] as number;
      for (let j = i; j < width; j++) own[j] = (own[j] as number) - f * (panel[k * width + j] as number);
    }
    const pivot = own[i] as number;
    if (!(pivot > 1e-6 * start) || !(pivot > 0)) return false;
    const inverse = 1 / Math.sqrt(pivot);
    for (let j = i; j < width; j++) own[j] = (own[j] as number) * inverse;
  }
  return true;
}

/**
 * V with V·U = S, row by row of S: the solution of Uᵀv = s. Columns of S are in the factor's order.
 *
 * @param s [rows × n], kept
 */
export async function solveTransposed(
  { upper, order }: TriangularFactor,
  s: Float32Array,
  rows: number,
  matrices: Matrices,
): Promise<Float32Array> {
  const n = order.length;
  const rest = Float32Array.from(s);
  for (let from = 0; from < n; from += BLOCK) {
    const size = Math.min(BLOCK, n - from);
    const to = from + size;
    const solved = new Float32Array(rows * size);
    for (let r = 0; r < rows; r++)
      for (let c = from; c < to; c++) {
        const v = (rest[r * n + c] as number) / (upper[c * n + c] as number);
        rest[r * n + c] = v;
        solved[r * size + c - from] = v;
        for (let j = c + 1; j < to; j++)
          rest[r * n + j] = (rest[r * n + j] as number) - v * (upper[c * n + j] as number);
      }
    if (to === n) break;
    const moved = await matrices.times(solved, upper.subarray(from * n, to * n), rows, size, n);
    for (let r = 0; r < rows; r++)
      for (let j = to; j < n; j++)
        rest[r * n + j] = (rest[r * n + j] as number) - (moved[r * n + j] as number);
  }
  return rest;
}
