/** The exact end of learning on a power grid: coordinate descent over all levels, scales refitted between sweeps. */
import { dequantize, groupOf, type LayerProblem, type QuantizedMatrix } from './problem.js';
import { gradientAt, type Quadratic } from './quadratic.js';

const ROUNDS = 12;
const SWEEPS = 6;

/** One row: its codes, real values, and half the gradient there. */
interface Row {
  readonly gram: Float64Array;
  readonly codes: Int32Array;
  readonly values: Float64Array;
  readonly gradient: Float64Array;
  /** Cell of each column. */
  readonly cell: Int32Array;
}

/**
 * Moves single codes to the level that costs least and refits scales in turn, until no code moves. Never worse than the
 * start on the quadratic.
 */
export function descendPowerGrid(
  problem: LayerProblem,
  quadratic: Quadratic,
  start: QuantizedMatrix & { readonly exponent: number },
): QuantizedMatrix {
  const { rows, cols, grid, sharing, mask, importance } = problem;
  const levels = Float64Array.from({ length: grid.high - grid.low + 1 }, (_, i) => {
    const q = grid.low + i;
    return Math.sign(q) * (Math.abs(q) / grid.high) ** (1 / start.exponent);
  });
  const codes = start.codes.slice();
  const scale = start.scale.slice();
  const values = dequantize(problem, { ...start, codes, scale });
  const gradient = gradientAt(problem, quadratic, values);
  const all = Array.from({ length: rows }, (_, r): Row => {
    const [from, to] = [r * cols, (r + 1) * cols];
    const base = (sharing.rowSet[r] as number) * sharing.blocks;
    return {
      gram: quadratic.gram[groupOf(problem, r)] as Float64Array,
      codes: codes.subarray(from, to),
      values: values.subarray(from, to),
      gradient: gradient.subarray(from, to),
      cell: sharing.block.map((b) => base + b),
    };
  });
  for (let round = 0; round < ROUNDS; round++) {
    let moves = 0;
    for (const [r, row] of all.entries())
      moves += settleRow(row, levels, grid.low, scale, mask?.subarray(r * cols, (r + 1) * cols));
    if (moves === 0) break;
    refitScales(all, levels, grid.low, scale, importance, problem.minimumScale);
  }
  return { codes, scale, zeroPoint: start.zeroPoint, exponent: start.exponent };
}

/** Sweeps over one row until nothing moves; the number of moves. */
function settleRow(
  row: Row,
  levels: Float64Array,
  low: number,
  scale: Float64Array,
  mask: Uint8Array | undefined,
): number {
  const { gram, codes, values, gradient, cell } = row;
  const cols = codes.length;
  let moves = 0;
  for (let sweep = 0; sweep < SWEEPS; sweep++) {
    const before = moves;
    for (let c = 0; c < cols; c++) {
      const curvature = gram[c * cols + c] as number;
      if (curvature <= 0 || mask?.[c] === 0) continue;
      const s = scale[cell[c] as number] as number;
      const wanted = (values[c] as number) - (gradient[c] as number) / curvature;
      const at = nearestLevel(levels, wanted / s);
      if (at + low === codes[c]) continue;
      const step = (levels[at] as number) * s - (values[c] as number);
      // Equally good levels must not swap for ever.
      if (step * (2 * (gradient[c] as number) + step * curvature) >= 0) continue;
      codes[c] = at + low;
      move(row, c, step);
      moves++;
    }
    if (moves === before) break;
  }
  return moves;
}

/** Changes one value, and the gradient with it. */
function move({ gram, values, gradient }: Row, c: number, step: number): void {
  const cols = values.length;
  values[c] = (values[c] as number) + step;
  for (let i = 0, at = c * cols; i < cols; i++, at++)
    gradient[i] = (gradient[i] as number) + step * (gram[at] as number);
}

/** Index of the level nearest to x; levels ascend. */
function nearestLevel(levels: Float64Array, x: number): number {
  let low = 0;
  let high = levels.length - 1;
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if ((levels[middle] as number) <= x) low = middle;
    else high = middle;
  }
  return x - (levels[low] as number) <= (levels[high] as number) - x ? low : high;
}

/** Each scale moved to its optimum, the others and all codes as they are: δs = −Σ l·g / Σ l·Hl. */
function refitScales(
  rows: readonly Row[],
  levels: Float64Array,
  low: number,
  scale: Float64Array,
  importance: Float32Array | undefined,
  minimum: Float64Array | undefined,
): void {
  const byCell = new Map<number, [Row, number][]>();
  rows.forEach((row, r) => {
    for (const cell of new Set(row.cell)) byCell.set(cell, [...(byCell.get(cell) ?? []), [row, r]]);
  });
  for (const [cell, members] of byCell) {
    let slope = 0;
    let curvature = 0;
    const directions = members.map(([row, r]) => {
      const own = Float64Array.from(row.codes, (code, c) =>
        row.cell[c] === cell ? (levels[code - low] as number) : 0,
      );
      const moved = timesRow(row.gram, own);
      const share = importance?.[r] ?? 1;
      own.forEach((l, c) => {
        slope += share * l * (row.gradient[c] as number);
        curvature += share * l * (moved[c] as number);
      });
      return { row, own, moved };
    });
    if (!(curvature > 0)) continue;
    const before = scale[cell] as number;
    const after = Math.max(before - slope / curvature, minimum?.[cell] ?? 0, before / 2);
    scale[cell] = after;
    for (const { row, own, moved } of directions) {
      for (let c = 0; c < own.length; c++) {
        row.values[c] = (row.values[c] as number) + (after - before) * (own[c] as number);
        row.gradient[c] = (row.gradient[c] as number) + (after - before) * (moved[c] as number);
      }
    }
  }
}

/** H·x. */
function timesRow(gram: Float64Array, x: Float64Array): Float64Array {
  const out = new Float64Array(x.length);
  for (let i = 0; i < x.length; i++) {
    const xi = x[i] as number;
    if (xi === 0) continue;
    for (let j = 0, at = i * x.length; j < x.length; j++, at++)
      out[j] = (out[j] as number) + xi * (gram[at] as number);
  }
  return out;
}
