/** Coordinate descent over the whole integer grid on the layer's quadratic, with exact scale refits between sweeps. */
import { required } from '../core/index.js';
import { closestCodes } from './closest-point.js';
import {
  pairSweep,
  refitScales,
  rowsOfSet,
  setCode,
  sweep,
  type Columns,
  type LayerState,
  type Row,
} from './descent-row.js';
import { multiply } from './linear-algebra.js';
import { plainMatrices, type Matrices } from './matrices.js';
import { productsByGroup } from './measure.js';
import { baseline, settle } from './nearest.js';
import { dequantize, type LayerProblem, type LayerSolution, type QuantizedMatrix } from './problem.js';
import {
  costAt,
  distance,
  gradientAt,
  plusSlope,
  quadraticOf,
  type Product,
  type Quadratic,
} from './quadratic.js';
import { fitScales, nearestCodes, sumBySet, type CellParameters, type ScaleRule } from './scales.js';
import { factorizeGroups, successiveCodes } from './successive.js';
import { type TriangularFactor } from './triangular.js';
import { vectorImprover } from './vector-row.js';

/** How far descent from one starting point goes. */
export interface DescendOptions {
  /** Refits of the scales, at most. */
  readonly refits: number;
  /** Changes two codes at once where no single change helps. */
  readonly pairs?: boolean;
  /** Rows of at most this many columns are solved exactly at their scales. */
  readonly exact?: number;
}

export interface DescentOptions extends DescendOptions {
  /** Added to the diagonal of H, relative to its mean. */
  readonly damping: number;
  /** Starting codes, each with scales by each rule; every set of rows keeps its best result. */
  readonly starts: readonly ('nearest' | 'gptq')[];
  readonly scales: readonly ScaleRule[];
  /** Further descents from GPTQ's codes at the best scales so far. */
  readonly restarts: number;
}

export const DESCENT_DEFAULTS: DescentOptions = {
  damping: 0.001,
  starts: ['nearest', 'gptq'],
  scales: ['mse'],
  restarts: 0,
  refits: 20,
  pairs: false,
  exact: 12,
};

/** Codes with what they cost every set of rows that shares scales, on the damped objective. */
export interface Descended extends QuantizedMatrix {
  readonly cost: Float64Array;
}

/** What descents of one layer share. */
export interface DescentTask {
  readonly problem: LayerProblem;
  readonly quadratic: Quadratic;
  readonly settings: DescentOptions;
  /** Of every group's H, where a start needs them. */
  readonly factors: readonly TriangularFactor[];
  readonly product: Product;
  readonly matrices: Matrices;
}

/** Solves a layer by descent from several starts. */
export async function descent(
  problem: LayerProblem,
  options: Partial<DescentOptions> = {},
  product: Product = multiply,
  matrices: Matrices = plainMatrices,
): Promise<LayerSolution> {
  const task = await openDescent(problem, options, product, matrices);
  const nearestMatrix = baseline(problem);
  return settle(problem, 'descent', await descendFromStarts(task, nearestMatrix), nearestMatrix, product);
}

export async function openDescent(
  problem: LayerProblem,
  options: Partial<DescentOptions>,
  product: Product,
  matrices: Matrices,
): Promise<DescentTask> {
  const settings = { ...DESCENT_DEFAULTS, ...options };
  const [hw] = await productsByGroup(problem, problem.moments.gram, [problem.weight], product);
  const quadratic = quadraticOf(problem, settings.damping, hw);
  const usesGptq = settings.starts.includes('gptq') || settings.restarts > 0;
  const factors = usesGptq ? await factorizeGroups(quadratic, problem.cols, true, matrices) : [];
  return { problem, quadratic, settings, factors, product, matrices };
}

/**
 * The cheapest end of all starts and restarts, for every set of rows that shares scales.
 *
 * @param leastSquares scales of least weight error
 */
export async function descendFromStarts(task: DescentTask, leastSquares: CellParameters): Promise<Descended> {
  const { problem, quadratic, settings, factors, matrices } = task;
  let best: Descended | undefined;
  const consider = async (start: QuantizedMatrix): Promise<void> => {
    const found = await descendFrom(task, start);
    best = best === undefined ? found : cheaperBySet(problem, best, found);
  };
  for (const rule of settings.scales) {
    const parameters = rule === 'mse' ? leastSquares : fitScales(problem, rule, quadratic);
    for (const start of settings.starts)
      await consider(
        start === 'nearest'
          ? nearestCodes(problem, parameters)
          : await successiveCodes(problem, quadratic, parameters, factors, matrices),
      );
  }
  for (let i = 0; i < settings.restarts; i++)
    await consider(
      await successiveCodes(problem, quadratic, required(best, 'a first descent'), factors, matrices),
    );
  return required(best, 'a start of the descent');
}

/** Descends from given codes. */
export async function descendFrom(task: DescentTask, start: QuantizedMatrix): Promise<Descended> {
  return descend(task.problem, task.quadratic, start, task.settings, await gradientFrom(task, start));
}

/** Half the gradient at given codes, [rows × cols]. */
export async function gradientFrom(
  { problem, quadratic, product }: DescentTask,
  start: QuantizedMatrix,
): Promise<Float64Array> {
  const difference = distance(dequantize(problem, start), quadratic.reference);
  const [moved] = await productsByGroup(problem, quadratic.gram, [difference], product);
  return plusSlope(quadratic, required(moved, 'a product'));
}

/**
 * Descends from given codes; the objective never rises, and at the end no change of one code lowers it.
 *
 * @param gradient half the gradient at the start, [rows × cols], where it is known already; changed in place
 */
export function descend(
  problem: LayerProblem,
  quadratic: Quadratic,
  start: QuantizedMatrix,
  options: DescendOptions,
  gradient: Float64Array = gradientAt(problem, quadratic, dequantize(problem, start)),
): Descended {
  const { cols, sharing, grid } = problem;
  const codes = Int32Array.from(start.codes);
  const state: LayerState = { codes, values: dequantize(problem, start), gradient };
  const scale = Float64Array.from(start.scale);
  const zeroPoint = Int32Array.from(start.zeroPoint);
  const columns: Columns = { step: new Float64Array(cols), zero: new Int32Array(cols) };
  const refits = (grid.scale ?? 'float') === 'float' ? options.refits : 0;
  const improveRow =
    grid.words === undefined
      ? (row: Row): void => improve(row, columns, problem, options)
      : vectorImprover(grid.words, columns);
  for (let set = 0; set < sharing.sets; set++) {
    const cell = set * sharing.blocks;
    const rows = rowsOfSet(problem, quadratic, set, state);
    const spread = (): void => {
      for (let c = 0; c < cols; c++) {
        columns.step[c] = scale[cell + (sharing.block[c] as number)] as number;
        columns.zero[c] = zeroPoint[cell + (sharing.block[c] as number)] as number;
      }
    };
    spread();
    rows.forEach(improveRow);
    for (let i = 0; i < refits && refitScales(problem, rows, scale, cell); i++) {
      spread();
      rows.forEach(improveRow);
    }
  }
  const cost = sumBySet(problem, costAt(problem, quadratic, state.values, gradient));
  return { codes, scale, zeroPoint, cost };
}

/** Single changes until none helps, then pair changes, until neither does; short rows exactly. */
function improve(row: Row, columns: Columns, problem: LayerProblem, options: DescendOptions): void {
  const { grid, cols } = problem;
  do {
    while (sweep(row, columns, grid) > 0);
  } while (options.pairs === true && pairSweep(row, columns, grid) > 0);
  if (cols > (options.exact ?? 0)) return;
  const best = closestCodes({ ...row, ...columns }, grid, row.codes);
  best.forEach((code, c) => {
    if (code !== row.codes[c]) setCode(row, columns, c, code);
  });
}

/** Of two answers, the cheaper one for every set of rows that shares scales. */
export function cheaperBySet({ rows, cols, sharing }: LayerProblem, a: Descended, b: Descended): Descended {
  const takeB = (set: number): boolean => (b.cost[set] as number) < (a.cost[set] as number);
  const codes = Int32Array.from(a.codes);
  for (let r = 0; r < rows; r++)
    if (takeB(sharing.rowSet[r] as number)) codes.set(b.codes.subarray(r * cols, (r + 1) * cols), r * cols);
  const fromB = (cell: number): boolean => takeB(Math.floor(cell / sharing.blocks));
  return {
    codes,
    scale: a.scale.map((s, cell) => (fromB(cell) ? (b.scale[cell] as number) : s)),
    zeroPoint: a.zeroPoint.map((z, cell) => (fromB(cell) ? (b.zeroPoint[cell] as number) : z)),
    cost: a.cost.map((c, set) => (takeB(set) ? (b.cost[set] as number) : c)),
  };
}
