/** Starting scales and zero points: absolute maximum, least weight error, least output error by the Gram matrix. */
import { nearestCode } from './grid.js';
import { dequantize, type LayerProblem, type QuantizedMatrix, type WeightGrid } from './problem.js';
import { costAt, gradientAt, type Quadratic } from './quadratic.js';

/** How a starting scale is chosen. */
export type ScaleRule = 'absmax' | 'mse' | 'gram';

export interface CellParameters {
  /** One a cell. */
  readonly scale: Float64Array;
  readonly zeroPoint: Int32Array;
}

interface Candidate {
  readonly scale: number;
  readonly zeroPoint: number;
}

/**
 * Scale and zero point of every cell.
 *
 * `absmax` covers all weights, `mse` clips where that lowers Σ(ŵ − w)², `gram` varies the latter's scale to lower the
 * objective itself, nearest codes throughout.
 */
export function fitScales(problem: LayerProblem, rule: 'absmax' | 'mse'): CellParameters;
export function fitScales(problem: LayerProblem, rule: ScaleRule, quadratic: Quadratic): CellParameters;
export function fitScales(problem: LayerProblem, rule: ScaleRule, quadratic?: Quadratic): CellParameters {
  const cells = problem.sharing.sets * problem.sharing.blocks;
  if (problem.givenScale !== undefined)
    return { scale: Float64Array.from(problem.givenScale), zeroPoint: new Int32Array(cells) };
  const fitted = { scale: new Float64Array(cells), zeroPoint: new Int32Array(cells) };
  for (const [cell, values] of cellValues(problem).entries()) {
    const { scale, zeroPoint } =
      rule === 'absmax' ? covering(rangeOf(values), problem.grid, 1) : leastSquares(values, problem.grid);
    const least = problem.minimumScale?.[cell] ?? 0;
    fitted.scale[cell] = Math.fround(scale >= least ? scale : raised(least, problem.grid));
    fitted.zeroPoint[cell] = zeroPoint;
  }
  const isFree = (problem.grid.scale ?? 'float') === 'float';
  return rule === 'gram' && isFree && quadratic !== undefined ? rescaled(problem, quadratic, fitted) : fitted;
}

/** Nearest code of every weight; 0 stays exactly representable where a mask forbids a weight. */
export function nearestCodes(problem: LayerProblem, parameters: CellParameters): QuantizedMatrix {
  const { rows, cols, sharing, grid, weight, mask } = problem;
  const codes = new Int32Array(rows * cols);
  for (let r = 0, i = 0; r < rows; r++) {
    const base = (sharing.rowSet[r] as number) * sharing.blocks;
    for (let c = 0; c < cols; c++, i++) {
      const cell = base + (sharing.block[c] as number);
      const zero = parameters.zeroPoint[cell] as number;
      codes[i] =
        mask !== undefined && mask[i] === 0
          ? zero
          : nearestCode((weight[i] as number) / (parameters.scale[cell] as number), zero, grid);
    }
  }
  return { codes, scale: parameters.scale, zeroPoint: parameters.zeroPoint };
}

/** The weights of every cell. */
function cellValues({ rows, cols, sharing, weight }: LayerProblem): Float64Array[] {
  const { rowSet, sets, block, blocks } = sharing;
  const sizes = new Int32Array(sets * blocks);
  const each = (visit: (cell: number, i: number) => void): void => {
    for (let r = 0, i = 0; r < rows; r++) {
      const base = (rowSet[r] as number) * blocks;
      for (let c = 0; c < cols; c++, i++) visit(base + (block[c] as number), i);
    }
  };
  each((cell) => {
    sizes[cell] = (sizes[cell] as number) + 1;
  });
  const values = Array.from(sizes, (size) => new Float64Array(size));
  sizes.fill(0);
  each((cell, i) => {
    const at = sizes[cell] as number;
    (values[cell] as Float64Array)[at] = weight[i] as number;
    sizes[cell] = at + 1;
  });
  return values;
}

interface Range {
  readonly min: number;
  readonly max: number;
}

/** The least range that holds all values and zero. */
function rangeOf(values: Float64Array): Range {
  let [min, max] = [0, 0];
  for (let i = 0; i < values.length; i++) {
    const v = values[i] as number;
    if (v < min) min = v;
    else if (v > max) max = v;
  }
  return { min, max };
}

/** Scale and zero point that cover `share` of a range; scale 1 for a cell of zeros. */
function covering({ min, max }: Range, grid: WeightGrid, share: number): Candidate {
  const range = grid.symmetric
    ? Math.max(grid.low < 0 ? min / grid.low : 0, grid.high > 0 ? max / grid.high : 0)
    : (max - min) / (grid.high - grid.low);
  const scale = snapped(range === 0 ? 1 : share * range, grid);
  return { scale, zeroPoint: grid.symmetric ? 0 : nearestCode(grid.low - (share * min) / scale, 0, grid) };
}

/** The nearest scale the grid allows, not below the given one for powers of two. */
function snapped(scale: number, { scale: rule = 'float' }: WeightGrid): number {
  if (rule === 'float') return scale;
  return rule === 'power-of-two' ? 2 ** Math.ceil(Math.log2(scale)) : rule;
}

/** The least scale of the grid's kind that is not below a minimum. */
function raised(minimum: number, { scale: rule = 'float' }: WeightGrid): number {
  return rule === 'float' ? minimum : 2 ** Math.ceil(Math.log2(minimum));
}

/** Least Σ(ŵ − w)² over clipping ranges, coarse then fine, and for asymmetric grids the neighbouring zero points. */
function leastSquares(values: Float64Array, grid: WeightGrid): Candidate {
  const range = rangeOf(values);
  let best = covering(range, grid, 1);
  let least = squaredError(values, best, grid);
  let shareOfBest = 1;
  const consider = (share: number): void => {
    const base = covering(range, grid, share);
    for (const shift of grid.symmetric ? [0] : [0, -1, 1]) {
      const zeroPoint = base.zeroPoint + shift;
      if (zeroPoint < grid.low || zeroPoint > grid.high) continue;
      const candidate = { scale: base.scale, zeroPoint };
      const error = squaredError(values, candidate, grid, least);
      if (error >= least) continue;
      least = error;
      best = candidate;
      shareOfBest = share;
    }
  };
  for (let step = 1; step < 20; step++) consider(1 - step / 20);
  const centre = shareOfBest;
  for (let step = -4; step <= 4; step++) if (centre + step / 100 > 0) consider(centre + step / 100);
  return best;
}

/** Values after which a sum is held against what it has to stay below. */
const STRETCH = 64;

/** Σ(ŵ − w)² of nearest codes (ties upward, which changes nothing here), or what of it first reaches `most`. */
function squaredError(
  values: Float64Array,
  { scale, zeroPoint }: Candidate,
  grid: WeightGrid,
  most = Infinity,
): number {
  const low = grid.low - zeroPoint;
  const high = grid.high - zeroPoint;
  const inverse = 1 / scale;
  let sum = 0;
  if (grid.levels !== undefined) {
    for (let i = 0; i < values.length; i++) {
      const v = values[i] as number;
      const d = (nearestCode(v * inverse, zeroPoint, grid) - zeroPoint) * scale - v;
      sum += d * d;
    }
    return sum;
  }
  for (let i = 0; i < values.length && sum < most;) {
    for (const end = Math.min(i + STRETCH, values.length); i < end; i++) {
      const v = values[i] as number;
      let code = Math.floor(v * inverse + 0.5);
      if (code < low) code = low;
      else if (code > high) code = high;
      const d = code * scale - v;
      sum += d * d;
    }
  }
  return sum;
}

/** The scales times the factor in [0.6, 1.4] whose nearest codes cost least, set by set. */
function rescaled(problem: LayerProblem, quadratic: Quadratic, start: CellParameters): CellParameters {
  const { sharing } = problem;
  const best = { scale: Float64Array.from(start.scale), zeroPoint: start.zeroPoint };
  const least = new Float64Array(sharing.sets).fill(Infinity);
  for (let step = -8; step <= 8; step++) {
    const scale = start.scale.map((s, cell) =>
      Math.max(s * (1 + step / 20), problem.minimumScale?.[cell] ?? 0),
    );
    const cost = costBySet(problem, quadratic, nearestCodes(problem, { scale, zeroPoint: start.zeroPoint }));
    for (let set = 0; set < sharing.sets; set++) {
      if ((cost[set] as number) >= (least[set] as number)) continue;
      least[set] = cost[set] as number;
      const cells = scale.subarray(set * sharing.blocks, (set + 1) * sharing.blocks);
      best.scale.set(cells, set * sharing.blocks);
    }
  }
  return best;
}

/** Objective of given codes, summed over the rows that share scales, [sets]. */
function costBySet(problem: LayerProblem, quadratic: Quadratic, quantized: QuantizedMatrix): Float64Array {
  const values = dequantize(problem, quantized);
  return sumBySet(problem, costAt(problem, quadratic, values, gradientAt(problem, quadratic, values)));
}

/** Costs of rows, weighted by importance, summed over the rows that share scales. */
export function sumBySet({ sharing, importance }: LayerProblem, cost: Float64Array): Float64Array {
  const sums = new Float64Array(sharing.sets);
  cost.forEach((c, r) => {
    const set = sharing.rowSet[r] as number;
    sums[set] = (sums[set] as number) + (importance?.[r] ?? 1) * c;
  });
  return sums;
}
