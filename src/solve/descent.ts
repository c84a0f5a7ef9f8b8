/** Coordinate descent over the whole integer grid on the layer's quadratic, with exact scale refits between sweeps. */
import { required } from '../core/index.js';
import { closestCodes } from './closest-point.js';
import { pairSweep, refitScales, rowsOfSet, sweep, type Columns, type Row } from './descent-row.js';
import { gptqCodes, gptqFactors } from './gptq.js';
import { settle } from './nearest.js';
import { type LayerProblem, type LayerSolution, type QuantizedMatrix } from './problem.js';
import { quadraticOf, type Quadratic } from './quadratic.js';
import { costBySet, fitScales, nearestCodes, type ScaleRule } from './scales.js';

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

/** Solves a layer by descent from several starts. */
export function descent(problem: LayerProblem, options: Partial<DescentOptions> = {}): LayerSolution {
  const settings = { ...DESCENT_DEFAULTS, ...options };
  const quadratic = quadraticOf(problem, settings.damping);
  const usesGptq = settings.starts.includes('gptq') || settings.restarts > 0;
  const factors = usesGptq ? gptqFactors(quadratic, problem.cols, true) : [];
  let best: QuantizedMatrix | undefined;
  const consider = (start: QuantizedMatrix): void => {
    const found = descend(problem, quadratic, start, settings);
    best = best === undefined ? found : cheaperBySet(problem, quadratic, best, found);
  };
  for (const rule of settings.scales) {
    const parameters = fitScales(problem, rule, quadratic);
    for (const start of settings.starts)
      consider(
        start === 'nearest'
          ? nearestCodes(problem, parameters)
          : gptqCodes(problem, quadratic, parameters, factors),
      );
  }
  for (let i = 0; i < settings.restarts; i++)
    consider(gptqCodes(problem, quadratic, required(best, 'a first descent'), factors));
  return settle(problem, 'descent', required(best, 'a start of the descent'));
}

/** Descends from given codes; the objective never rises, and at the end no change of one code lowers it. */
export function descend(
  problem: LayerProblem,
  quadratic: Quadratic,
  start: QuantizedMatrix,
  options: DescendOptions,
): QuantizedMatrix {
  const { cols, sharing, grid } = problem;
  const codes = Int32Array.from(start.codes);
  const scale = start.scale.map(Math.fround);
  const zeroPoint = Int32Array.from(start.zeroPoint);
  const columns: Columns = { step: new Float64Array(cols), zero: new Int32Array(cols) };
  const refits = (grid.scale ?? 'float') === 'float' ? options.refits : 0;
  for (let set = 0; set < sharing.sets; set++) {
    const cell = set * sharing.blocks;
    const spread = (): void => {
      for (let c = 0; c < cols; c++) {
        columns.step[c] = scale[cell + (sharing.block[c] as number)] as number;
        columns.zero[c] = zeroPoint[cell + (sharing.block[c] as number)] as number;
      }
    };
    spread();
    let rows = rowsOfSet(problem, quadratic, set, codes, columns);
    const settleCodes = (): void => {
      for (const row of rows) improve(row, columns, problem, options);
      if (cols > (options.exact ?? 0)) return;
      for (const row of rows) row.codes.set(closestCodes({ ...row, ...columns }, grid, row.codes));
      rows = rowsOfSet(problem, quadratic, set, codes, columns);
    };
    settleCodes();
    for (let i = 0; i < refits && refitScales(problem, rows, scale, cell); i++) {
      spread();
      settleCodes();
    }
  }
  return { codes, scale, zeroPoint };
}

/** Single changes until none helps, then pair changes, until neither does. */
function improve(
  row: Row,
  columns: Columns,
  { grid }: LayerProblem,
  { pairs = false }: DescendOptions,
): void {
  do {
    while (sweep(row, columns, grid) > 0);
  } while (pairs && pairSweep(row, columns, grid) > 0);
}

/** Of two answers, the cheaper one for every set of rows that shares scales. */
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
  const fromB = (cell: number): boolean => takeB(Math.floor(cell / sharing.blocks));
  return {
    codes,
    scale: a.scale.map((s, cell) => (fromB(cell) ? (b.scale[cell] as number) : s)),
    zeroPoint: a.zeroPoint.map((z, cell) => (fromB(cell) ? (b.zeroPoint[cell] as number) : z)),
  };
}
