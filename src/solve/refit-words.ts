/** Words for given codes: least squares on the layer's objective, then integers by coordinate descent on the same. */
import { required } from '../core/index.js';
import { WORD_LIMIT } from '../formats/index.js';
import { dot } from './linear-algebra.js';
import { groupOf, type LayerProblem, type QuantizedMatrix } from './problem.js';
import { type Quadratic } from './quadratic.js';
import { placesInTable } from './vector-grid.js';

/** f(δ) = δMδ + 2·slope·δ: what a change of the entries costs. */
interface EntryProblem {
  readonly count: number;
  /** Symmetric, [count × count]. */
  readonly matrix: Float64Array;
  readonly slope: Float64Array;
}

/** Entries in some unit, and what they cost beside those before. */
interface Entries {
  readonly entries: Float64Array;
  readonly unit: number;
  readonly cost: number;
}

/**
 * Codes with the words that minimize the objective for them: with A_j the places of entry j times their scales, the
 * changes δ cost Σ_jk δ_j ⟨A_j, A_k H⟩ δ_k + 2 Σ_j ⟨A_j, gradient⟩ δ_j. Their least real solution, its largest entry
 * stretched to what a byte holds and the scales with it, is rounded and descends entry by entry; so do the entries as they
 * are. The cheaper result counts, so the objective never rises but for the rounding of scales to float32.
 *
 * @param gradient half the gradient at the codes, [rows × cols]
 */
export function refitWords(
  problem: LayerProblem,
  quadratic: Quadratic,
  found: QuantizedMatrix,
  gradient: Float64Array,
): QuantizedMatrix & { readonly levels: readonly number[] } {
  const { size, table } = required(problem.grid.words, 'words of a grid');
  const at = placesInTable(found.codes, problem.cols, table, size);
  const equations = entryProblem(problem, quadratic, found.scale, at, table.length, gradient);
  const before = Float64Array.from(table);
  const real = leastSquares(equations).map((change, j) => change + (before[j] as number));
  const unit = real.reduce((most, x) => Math.max(most, Math.abs(x)), 0) / WORD_LIMIT || 1;
  const rounded = real.map((x) => Math.round(x / unit));
  const { entries, unit: chosen } = cheaper(
    descendEntries(equations, before, rounded, unit),
    descendEntries(equations, before, before, 1),
  );
  const levels = Array.from(entries, (x) => x + 0);
  return {
    ...found,
    codes: at.map((j) => levels[j] as number),
    scale: found.scale.map((s) => Math.fround(s * chosen)),
    levels,
  };
}

function cheaper(a: Entries, b: Entries): Entries {
  return b.cost < a.cost ? b : a;
}

function entryProblem(
  { rows, cols, sharing, importance, groups }: LayerProblem,
  { gram }: Quadratic,
  scale: Float64Array,
  at: Int32Array,
  count: number,
  gradient: Float64Array,
): EntryProblem {
  // Below the diagonal of H only, half of its diagonal: the rest is the transpose.
  const half = new Float64Array(count * count);
  const slope = new Float64Array(count);
  const step = new Float64Array(cols);
  for (let r = 0; r < rows; r++) {
    const h = gram[groupOf({ rows, groups }, r)] as Float64Array;
    const base = (sharing.rowSet[r] as number) * sharing.blocks;
    const share = importance?.[r] ?? 1;
    const own = at.subarray(r * cols, (r + 1) * cols);
    for (let c = 0; c < cols; c++) {
      const s = scale[base + (sharing.block[c] as number)] as number;
      step[c] = s;
      const j = own[c] as number;
      slope[j] = (slope[j] as number) + share * s * (gradient[r * cols + c] as number);
      const line = half.subarray(j * count, (j + 1) * count);
      for (let k = 0, i = c * cols; k < c; k++, i++) {
        const to = own[k] as number;
        line[to] = (line[to] as number) + share * s * (step[k] as number) * (h[i] as number);
      }
      line[j] = (line[j] as number) + 0.5 * share * s * s * (h[c * cols + c] as number);
    }
  }
  const matrix = new Float64Array(count * count);
  for (let j = 0; j < count; j++)
    for (let k = 0; k < count; k++)
      matrix[j * count + k] = (half[j * count + k] as number) + (half[k * count + j] as number);
  return { count, matrix, slope };
}

/** Steps of conjugate gradients, at most, and the share of the first residual that ends them: entries are rounded after. */
const STEPS = 60;
const CLOSE = 1e-3;

/** Changes of least cost by conjugate gradients on the scaled equations; every step lowers the cost. */
function leastSquares({ count, matrix, slope }: EntryProblem): Float64Array {
  // Entries that no code uses stay.
  const weight = slope.map((_, j) => {
    const own = matrix[j * (count + 1)] as number;
    return own > 0 ? 1 / own : 0;
  });
  const change = new Float64Array(count);
  const residual = slope.map((s, j) => ((weight[j] as number) > 0 ? -s : 0));
  let direction = residual.map((r, j) => r * (weight[j] as number));
  let energy = dot(residual, direction);
  const least = energy * CLOSE * CLOSE;
  for (let step = 0; step < STEPS && energy > least; step++) {
    const image = times(matrix, direction, count);
    const curvature = dot(direction, image);
    if (!(curvature > 0)) break;
    const length = energy / curvature;
    for (let j = 0; j < count; j++) {
      change[j] = (change[j] as number) + length * (direction[j] as number);
      residual[j] = (residual[j] as number) - length * (image[j] as number);
    }
    const next = residual.map((r, j) => r * (weight[j] as number));
    const after = dot(residual, next);
    const share = after / energy;
    direction = next.map((z, j) => z + share * (direction[j] as number));
    energy = after;
  }
  return change;
}

/** Mx, row by row in loops: this is most of the work. */
function times(matrix: Float64Array, x: Float64Array, n: number): Float64Array {
  const y = new Float64Array(n);
  for (let j = 0, i = 0; j < n; j++) {
    let sum = 0;
    for (let k = 0; k < n; k++, i++) sum += (matrix[i] as number) * (x[k] as number);
    y[j] = sum;
  }
  return y;
}

/** Sweeps over the entries, at most. */
const SWEEPS = 50;

/** A change counts when it gains more than this share of its own curvature. */
const NOISE = 1e-9;

/** Gives every integer entry, in turn, its best value with the others fixed, until none changes. */
function descendEntries(
  { count, matrix, slope }: EntryProblem,
  before: Float64Array,
  start: Float64Array,
  unit: number,
): Entries {
  const entries = start.slice();
  const change = entries.map((x, j) => x * unit - (before[j] as number));
  const image = times(matrix, change, count);
  const residual = image.map((x, j) => x + (slope[j] as number));
  let cost = dot(change, image) + 2 * dot(change, slope);
  for (let sweep = 0, moved = 1; sweep < SWEEPS && moved > 0; sweep++) {
    moved = 0;
    for (let j = 0; j < count; j++) {
      const curvature = matrix[j * (count + 1)] as number;
      if (!(curvature > 0)) continue;
      const wanted = Math.round((entries[j] as number) - (residual[j] as number) / (curvature * unit));
      const after = Math.min(Math.max(wanted, -WORD_LIMIT), WORD_LIMIT);
      const step = (after - (entries[j] as number)) * unit;
      const gain = step * (2 * (residual[j] as number) + step * curvature);
      if (gain >= -NOISE * step * step * curvature) continue;
      entries[j] = after;
      cost += gain;
      for (let k = 0, i = j * count; k < count; k++, i++)
        residual[k] = (residual[k] as number) + step * (matrix[i] as number);
      moved++;
    }
  }
  return { entries, unit, cost };
}
