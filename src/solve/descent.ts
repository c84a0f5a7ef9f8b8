/** Coordinate descent over the whole integer grid on the layer's quadratic, with exact scale refits between sweeps. */
import { type Rng } from '../core/index.js';
import { multiply } from './linear-algebra.js';
import { settle } from './nearest.js';
import { groupOf, type LayerProblem, type LayerSolution, type QuantizedMatrix } from './problem.js';
import { quadraticOf, type Quadratic } from './quadratic.js';
import { gptqCodes } from './gptq.js';
import { costBySet, fitScales, nearestCodes, type ScaleRule } from './scales.js';

export interface DescentOptions {
  readonly damping: number;
  /** Starting points; the best result of each set of rows is kept. */
  readonly starts: readonly ('nearest' | 'gptq')[];
  readonly scales: ScaleRule;
  /** Refits of the scales, at most. */
  readonly refits: number;
  /** Kicks a row: random code changes followed by descent, kept when they help. */
  readonly kicks: number;
}

export const DESCENT_DEFAULTS: DescentOptions = {
  damping: 0.001,
  starts: ['nearest', 'gptq'],
  scales: 'mse',
  refits: 20,
  kicks: 0,
};

/** Solves a layer by descent. */
export function descent(
  problem: LayerProblem,
  options: Partial<DescentOptions> = {},
  rng?: Rng,
): LayerSolution {
  const settings = { ...DESCENT_DEFAULTS, ...options };
  const quadratic = quadraticOf(problem, settings.damping);
  const parameters = fitScales(problem, settings.scales, quadratic);
  let best: QuantizedMatrix | undefined;
  for (const start of settings.starts) {
    const codes =
      start === 'nearest'
        ? nearestCodes(problem, parameters)
        : gptqCodes(problem, quadratic, parameters, true);
    const found = descend(problem, quadratic, codes, settings, rng);
    best = best === undefined ? found : cheaperBySet(problem, quadratic, best, found);
  }
  return settle(problem, 'descent', best as QuantizedMatrix);
}

/** What descent changes in place, of one row. */
interface Row {
  readonly h: Float64Array;
  readonly linear: Float64Array;
  readonly importance: number;
  readonly mask: Uint8Array | undefined;
  readonly codes: Int32Array;
  /** ŵ. */
  readonly values: Float64Array;
  /** Hŵ − t: half the gradient. */
  readonly gradient: Float64Array;
}

/** Descends from given codes; the objective never rises, and at the end no change of one code lowers it. */
export function descend(
  problem: LayerProblem,
  quadratic: Quadratic,
  start: QuantizedMatrix,
  options: Pick<DescentOptions, 'refits' | 'kicks'>,
  rng?: Rng,
): QuantizedMatrix {
  const { cols, sharing, grid } = problem;
  const codes = Int32Array.from(start.codes);
  const scale = start.scale.map(Math.fround);
  const zeroPoint = Int32Array.from(start.zeroPoint);
  const step = new Float64Array(cols);
  const zero = new Int32Array(cols);
  for (let set = 0; set < sharing.sets; set++) {
    const cell = set * sharing.blocks;
    const spread = (): void => {
      for (let c = 0; c < cols; c++) {
        step[c] = scale[cell + (sharing.block[c] as number)] as number;
        zero[c] = zeroPoint[cell + (sharing.block[c] as number)] as number;
      }
    };
    spread();
    const rows = rowsOf(problem, quadratic, set, codes, step, zero);
    for (let round = 0; ; round++) {
      for (const row of rows) while (sweep(row, step, zero, grid.low, grid.high) > 0);
      if (round >= options.refits || !refit(problem, rows, scale, cell)) break;
      spread();
    }
  }
  void rng;
  return { codes, scale, zeroPoint };
}

function rowsOf(
  problem: LayerProblem,
  quadratic: Quadratic,
  set: number,
  codes: Int32Array,
  step: Float64Array,
  zero: Int32Array,
): Row[] {
  const { rows, cols, sharing, mask, importance } = problem;
  const found: Row[] = [];
  for (let r = 0; r < rows; r++) {
    if (sharing.rowSet[r] !== set) continue;
    const [from, to] = [r * cols, (r + 1) * cols];
    const h = quadratic.gram[groupOf(problem, r)] as Float64Array;
    const linear = quadratic.linear.subarray(from, to);
    const own = codes.subarray(from, to);
    const values = Float64Array.from(own, (q, c) => (q - (zero[c] as number)) * (step[c] as number));
    const gradient = multiply(values, h, 1, cols);
    for (let c = 0; c < cols; c++) gradient[c] = (gradient[c] as number) - (linear[c] as number);
    found.push({
      h,
      linear,
      importance: importance?.[r] ?? 1,
      mask: mask?.subarray(from, to),
      codes: own,
      values,
      gradient,
    });
  }
  return found;
}

/**
 * Gives every code of a row, in turn, the value that minimizes the objective with the others fixed:
 * ŵ_c − gradient_c / H_cc, rounded to the grid. Returns the number of changes.
 */
function sweep(row: Row, step: Float64Array, zero: Int32Array, low: number, high: number): number {
  const { h, mask, codes, values, gradient } = row;
  const n = codes.length;
  let changes = 0;
  for (let c = 0; c < n; c++) {
    if (mask !== undefined && mask[c] === 0) continue;
    const s = step[c] as number;
    const curvature = h[c * n + c] as number;
    const before = codes[c] as number;
    const slope = gradient[c] as number;
    let after = Math.round((values[c] as number) / s - slope / (curvature * s)) + (zero[c] as number);
    if (after < low) after = low;
    else if (after > high) after = high;
    if (after === before) continue;
    const change = (after - before) * s;
    // Better by more than rounding noise, so that ties cannot cycle.
    if (change * (2 * slope + change * curvature) > -1e-12 * change * change * curvature) continue;
    codes[c] = after;
    values[c] = (after - (zero[c] as number)) * s;
    for (let j = 0, at = c * n; j < n; j++, at++)
      gradient[j] = (gradient[j] as number) + change * (h[at] as number);
    changes++;
  }
  return changes;
}

/**
 * Scales of a set that minimize the objective for fixed codes, block by block: with v the block's part of ŵ, the factor
 * is 1 − Σ v·gradient / Σ vHv. Returns whether any scale moved noticeably.
 */
function refit(problem: LayerProblem, rows: readonly Row[], scale: Float64Array, cell: number): boolean {
  const { cols, sharing } = problem;
  let moved = false;
  for (let b = 0; b < sharing.blocks; b++) {
    let slope = 0;
    let curvature = 0;
    const products: Float64Array[] = [];
    for (const row of rows) {
      const part =
        sharing.blocks === 1 ? row.values : row.values.map((v, c) => (sharing.block[c] === b ? v : 0));
      // With one block Hv is at hand: gradient + t.
      const product =
        sharing.blocks === 1
          ? row.gradient.map((g, c) => g + (row.linear[c] as number))
          : multiply(part, row.h, 1, cols);
      for (let c = 0; c < cols; c++) {
        slope += row.importance * (part[c] as number) * (row.gradient[c] as number);
        curvature += row.importance * (part[c] as number) * (product[c] as number);
      }
      products.push(product);
    }
    const before = scale[cell + b] as number;
    const after = Math.fround(before * (1 - slope / curvature));
    if (!(curvature > 0) || !(after > 0) || Math.abs(after - before) < 1e-6 * before) continue;
    moved = true;
    scale[cell + b] = after;
    const factor = after / before - 1;
    rows.forEach((row, i) => {
      const product = products[i] as Float64Array;
      for (let c = 0; c < cols; c++) {
        row.gradient[c] = (row.gradient[c] as number) + factor * (product[c] as number);
        if (sharing.block[c] === b) row.values[c] = (row.values[c] as number) * (1 + factor);
      }
    });
  }
  return moved;
}

/** Set by set, the cheaper of two answers. */
export function cheaperBySet(
  problem: LayerProblem,
  quadratic: Quadratic,
  a: QuantizedMatrix,
  b: QuantizedMatrix,
): QuantizedMatrix {
  const { rows, cols, sharing } = problem;
  const costA = costBySet(problem, quadratic, a);
  const costB = costBySet(problem, quadratic, b);
  const takeB = (set: number): boolean => (costB[set] as number) < (costA[set] as number);
  const codes = Int32Array.from(a.codes);
  for (let r = 0; r < rows; r++)
    if (takeB(sharing.rowSet[r] as number)) codes.set(b.codes.subarray(r * cols, (r + 1) * cols), r * cols);
  const cellOf = (cell: number): boolean => takeB(Math.floor(cell / sharing.blocks));
  return {
    codes,
    scale: a.scale.map((s, cell) => (cellOf(cell) ? (b.scale[cell] as number) : s)),
    zeroPoint: a.zeroPoint.map((z, cell) => (cellOf(cell) ? (b.zeroPoint[cell] as number) : z)),
  };
}
