/** Mask and weights, or mask and codes, chosen together: descent over both on the layer's quadratic. */
import { assert } from '../../core/index.js';
import { cheaperBySet, descend, type Descended } from '../descent.js';
import { gptqCodes, gptqFactors } from '../gptq.js';
import { settle } from '../nearest.js';
import { groupOf, type LayerProblem, type LayerSolution, type QuantizedMatrix } from '../problem.js';
import { dot } from '../linear-algebra.js';
import { gradientAt, quadraticOf, type Quadratic } from '../quadratic.js';
import { fitScales, nearestCodes, type ScaleRule } from '../scales.js';
import { exchangePass, realSweep, type SparseRow } from './exchange.js';
import { magnitudeMask, wandaMask } from './masks.js';
import { type Pattern } from './pattern.js';
import { sparseGpt, type PrunedMatrix } from './sparse-gpt.js';

/** Where the first mask of a descent comes from. */
export type MaskStart = 'magnitude' | 'wanda' | 'sparsegpt';

export interface JointOptions {
  /** Added to the diagonal of H, relative to its mean. */
  readonly damping: number;
  /** Descents from several starts; each set of rows that shares scales keeps the best. */
  readonly starts: readonly MaskStart[];
  readonly scales: ScaleRule;
  /** Alternations of exchanges and sweeps, at most. */
  readonly rounds: number;
  /** Refits of the scales in each of them, at most. */
  readonly refits: number;
}

export const JOINT_DEFAULTS: JointOptions = {
  damping: 0.001,
  starts: ['wanda', 'sparsegpt'],
  scales: 'mse',
  rounds: 20,
  refits: 20,
};

/** A solver's answer with the mask its codes keep. */
export interface SparseSolution extends LayerSolution {
  /** 1 where a weight may be non-zero, [rows × cols]. */
  readonly mask: Uint8Array;
}

/**
 * Prunes and rounds a layer at once.
 *
 * First with real weights: exchanges inside the groups of the pattern alternate with sweeps over the kept weights. Then
 * on the grid, from GPTQ's and from nearest codes of the result: the same exchanges, now between codes, alternate with
 * coordinate descent and scale refits. Every step lowers the objective, so the pattern survives rounding and the
 * remaining weights make up for both the removed ones and the grid.
 *
 * @param columns the pattern's column order (`patternColumns`)
 */
export async function jointSparse(
  problem: LayerProblem,
  columns: Int32Array,
  pattern: Pattern,
  options: Partial<JointOptions> = {},
): Promise<SparseSolution> {
  const settings = { ...JOINT_DEFAULTS, ...options };
  const quadratic = quadraticOf(problem, settings.damping);
  const factors = gptqFactors(quadratic, problem.cols, true);
  const found = settings.starts.flatMap((name) => {
    const start = startMask(name, problem, quadratic, columns, pattern);
    const pruned = pruneByExchange(problem, quadratic, columns, pattern, start, settings.rounds);
    return roundPruned(problem, quadratic, pruned, settings.scales, factors).map((codes) =>
      exchangeCodes(problem, quadratic, columns, pattern, codes, pruned.mask, settings),
    );
  });
  const best = found.reduce((a, b) => cheaperBySet(problem, a, b));
  return settleSparse(problem, 'joint', best);
}

/** A solution for sparse codes: measured against nearest rounding under the same mask. */
export async function settleSparse(
  problem: LayerProblem,
  solver: string,
  found: QuantizedMatrix,
): Promise<SparseSolution> {
  const mask = maskOf(problem, found);
  return { ...(await settle({ ...problem, mask }, solver, found)), mask };
}

/** A start by name, with real weights that keep its mask. */
export function startMask(
  start: MaskStart,
  problem: LayerProblem,
  quadratic: Quadratic,
  columns: Int32Array,
  pattern: Pattern,
): PrunedMatrix {
  if (start === 'sparsegpt') return sparseGpt(problem, quadratic, columns, pattern);
  const mask = (start === 'wanda' ? wandaMask : magnitudeMask)(problem, columns, pattern);
  return { mask, weight: Float64Array.from(problem.weight, (w, i) => (mask[i] === 1 ? w : 0)) };
}

/** Exchanges and sweeps with real weights until neither helps; with `exchanges` false the mask stays. */
export function pruneByExchange(
  problem: LayerProblem,
  quadratic: Quadratic,
  columns: Int32Array,
  pattern: Pattern,
  start: PrunedMatrix,
  rounds: number,
  exchanges = true,
): PrunedMatrix {
  const mask = Uint8Array.from(start.mask);
  const weight = Float64Array.from(start.weight);
  const gradient = gradientAt(problem, quadratic, weight);
  for (let r = 0; r < problem.rows; r++) {
    const row = rowAt(problem, quadratic, r, mask, weight, gradient);
    const own = (all: Float32Array | Float64Array) => all.subarray(r * problem.cols, (r + 1) * problem.cols);
    const energy = dot(own(quadratic.reference), own(quadratic.linear));
    for (let round = 0; round < rounds; round++) {
      const gained = -realSweep(row);
      const moved = exchanges ? exchangePass(row, columns, pattern) : 0;
      if (moved === 0 && gained <= 1e-6 * energy) break;
    }
  }
  return { mask, weight };
}

/** Codes of pruned weights, by GPTQ and to nearest. Scales fit the kept weights only. */
export function roundPruned(
  problem: LayerProblem,
  quadratic: Quadratic,
  pruned: PrunedMatrix,
  scales: ScaleRule,
  factors = gptqFactors(quadratic, problem.cols, true),
): QuantizedMatrix[] {
  const sparse = { ...problem, mask: pruned.mask, weight: Float32Array.from(pruned.weight) };
  const parameters = fitScales(sparse, scales, quadratic);
  return [nearestCodes(sparse, parameters), gptqCodes(sparse, quadratic, parameters, factors)];
}

/** Alternates descent over codes and scales with exchanges between codes until no exchange helps. */
function exchangeCodes(
  problem: LayerProblem,
  quadratic: Quadratic,
  columns: Int32Array,
  pattern: Pattern,
  start: QuantizedMatrix,
  startingMask: Uint8Array,
  { rounds, refits }: JointOptions,
): Descended {
  const mask = Uint8Array.from(startingMask);
  let codes = descend({ ...problem, mask }, quadratic, start, { refits });
  for (let round = 0; round < rounds; round++) {
    const exchanged = exchangeAll(problem, quadratic, columns, pattern, codes, mask);
    if (exchanged === 0) break;
    codes = descend({ ...problem, mask }, quadratic, codes, { refits });
  }
  return codes;
}

/** One pass of exchanges over every row; changes codes and mask in place. */
function exchangeAll(
  problem: LayerProblem,
  quadratic: Quadratic,
  columns: Int32Array,
  pattern: Pattern,
  { codes, scale, zeroPoint }: QuantizedMatrix,
  mask: Uint8Array,
): number {
  const { rows, cols, sharing, grid } = problem;
  const cellAt = (r: number, c: number): number =>
    (sharing.rowSet[r] as number) * sharing.blocks + (sharing.block[c] as number);
  const values = new Float64Array(rows * cols);
  for (let r = 0, i = 0; r < rows; r++)
    for (let c = 0; c < cols; c++, i++) {
      const cell = cellAt(r, c);
      values[i] = ((codes[i] as number) - (zeroPoint[cell] as number)) * (scale[cell] as number);
    }
  const gradient = gradientAt(problem, quadratic, values);
  let exchanges = 0;
  for (let r = 0; r < rows; r++) {
    const step = Float64Array.from({ length: cols }, (_, c) => scale[cellAt(r, c)] as number);
    const zero = Int32Array.from({ length: cols }, (_, c) => zeroPoint[cellAt(r, c)] as number);
    const own = codes.subarray(r * cols, (r + 1) * cols);
    const row = {
      ...rowAt(problem, quadratic, r, mask, values, gradient),
      levels: { grid, codes: own, step, zero },
    };
    exchanges += exchangePass(row, columns, pattern);
  }
  return exchanges;
}

function rowAt(
  problem: LayerProblem,
  quadratic: Quadratic,
  r: number,
  mask: Uint8Array,
  values: Float64Array,
  gradient: Float64Array,
): SparseRow {
  const [from, to] = [r * problem.cols, (r + 1) * problem.cols];
  const h = quadratic.gram[groupOf(problem, r)];
  assert(h !== undefined, `no Gram matrix for row ${r}`);
  return {
    h,
    mask: mask.subarray(from, to),
    values: values.subarray(from, to),
    gradient: gradient.subarray(from, to),
  };
}

/** 1 where a code is not that of zero. */
function maskOf({ rows, cols, sharing }: LayerProblem, { codes, zeroPoint }: QuantizedMatrix): Uint8Array {
  const mask = new Uint8Array(rows * cols);
  for (let r = 0, i = 0; r < rows; r++)
    for (let c = 0; c < cols; c++, i++) {
      const cell = (sharing.rowSet[r] as number) * sharing.blocks + (sharing.block[c] as number);
      mask[i] = codes[i] === zeroPoint[cell] ? 0 : 1;
    }
  return mask;
}
