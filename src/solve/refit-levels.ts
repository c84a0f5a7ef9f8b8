/** Learned levels for given codes: linear least squares on the layer's objective. */
import { required } from '../core/index.js';
import { cholesky, solveCholesky } from './linear-algebra.js';
import { groupOf, type LayerProblem, type QuantizedMatrix } from './problem.js';
import { type Quadratic } from './quadratic.js';

/**
 * Codes with the levels that minimize the objective for them, a linear least-squares problem: with A_j the places of level
 * j times their scales, the changes δ solve Σ_k ⟨A_j, A_k H⟩ δ_k = −⟨A_j, gradient⟩. A level that is zero stays.
 *
 * @param gradient half the gradient at the codes, [rows × cols]
 */
export function refitLevels(
  problem: LayerProblem,
  quadratic: Quadratic,
  found: QuantizedMatrix,
  gradient: Float64Array,
): QuantizedMatrix & { readonly levels: readonly number[] } {
  const levels = required(problem.grid.levels, 'levels of a codebook');
  const place = new Map(levels.map((level, j) => [level, j]));
  const at = Int32Array.from(found.codes, (code) => place.get(code) as number);
  const { matrix, slope } = normalEquations(problem, quadratic, found.scale, at, levels.length, gradient);
  const isFixed = (j: number): boolean =>
    levels[j] === 0 || !((matrix[j * (levels.length + 1)] as number) > 0);
  const change = solveOpen(matrix, slope, levels.length, isFixed);
  const refitted = levels.map((level, j) => Math.round(level - (change[j] as number)));
  return { ...found, codes: at.map((j) => refitted[j] as number), levels: refitted };
}

function normalEquations(
  { rows, cols, sharing, importance, groups }: LayerProblem,
  { gram }: Quadratic,
  scale: Float64Array,
  at: Int32Array,
  count: number,
  gradient: Float64Array,
): { matrix: Float64Array; slope: Float64Array } {
  const matrix = new Float64Array(count * count);
  const slope = new Float64Array(count);
  const moved = new Float64Array(count * cols);
  for (let r = 0; r < rows; r++) {
    const h = gram[groupOf({ rows, groups }, r)] as Float64Array;
    const base = (sharing.rowSet[r] as number) * sharing.blocks;
    const stepOf = (c: number): number => scale[base + (sharing.block[c] as number)] as number;
    // Rows of H added up by the level of their column.
    moved.fill(0);
    for (let c = 0, i = r * cols; c < cols; c++, i++) {
      const step = stepOf(c);
      const to = (at[i] as number) * cols;
      for (let k = 0, from = c * cols; k < cols; k++, from++)
        moved[to + k] = (moved[to + k] as number) + step * (h[from] as number);
    }
    const share = importance?.[r] ?? 1;
    for (let c = 0, i = r * cols; c < cols; c++, i++) {
      const j = at[i] as number;
      const factor = share * stepOf(c);
      slope[j] = (slope[j] as number) + factor * (gradient[i] as number);
      for (let k = 0; k < count; k++)
        matrix[j * count + k] = (matrix[j * count + k] as number) + factor * (moved[k * cols + c] as number);
    }
  }
  return { matrix, slope };
}

/** Keeps the equations solvable where levels move the outputs alike. */
const DAMPING = 1e-9;

/** Solves for the unknowns that are not fixed; those are 0. */
function solveOpen(
  matrix: Float64Array,
  right: Float64Array,
  n: number,
  isFixed: (j: number) => boolean,
): Float64Array {
  const open = Array.from({ length: n }, (_, j) => j).filter((j) => !isFixed(j));
  const size = open.length;
  const part = Float64Array.from({ length: size * size }, (_, i) => {
    const [j, k] = [open[Math.floor(i / size)] as number, open[i % size] as number];
    return (matrix[j * n + k] as number) * (j === k ? 1 + DAMPING : 1);
  });
  const found = solveCholesky(
    cholesky(part, size),
    size,
    open.map((j) => right[j] as number),
  );
  const out = new Float64Array(n);
  open.forEach((j, i) => {
    out[j] = found[i] as number;
  });
  return out;
}
