/** The one lens of weighted layers: a matrix, second moments of its inputs and outputs, and the grid of its codes. */
import { assert } from '../core/index.js';
import { type Grouping } from '../formats/index.js';

/** The integers a code may take. */
export interface WeightGrid {
  /** Lowest and highest code, for example −8 and 7. */
  readonly low: number;
  readonly high: number;
  /** All codes in ascending order, where they are not all the integers of [low, high]. A mask needs 0 among them. */
  readonly levels?: readonly number[];
  /** Zero point fixed at 0. */
  readonly symmetric: boolean;
  /** Scales may be any float32 (the default), powers of two, or this one number. */
  readonly scale?: 'float' | 'power-of-two' | number;
  /** Levels are not the codes themselves but sign(q)·(|q|/high)^(1/a), in units of the scale. */
  readonly power?: PowerLevels;
  /** Levels are learned: a table of at most so many, which suits the float weights best; a solver may choose others. */
  readonly entries?: number;
  /** Codes are entries of words, chosen for several columns at once. */
  readonly words?: VectorWords;
}

/** Words of a vector format that suit the float weights best; a solver may choose others. */
export interface VectorWords {
  /** Columns of one vector; the last one of a row may reach over its end. */
  readonly size: number;
  /** Entries, [words × size], integers of [low, high]. */
  readonly table: readonly number[];
  /** Scales that the words were learned with, one a cell. */
  readonly scale: readonly number[];
}

/** Levels of a power format (PowerQuant, arXiv 2301.09858). */
export interface PowerLevels {
  /** a: the format's own, or the one that suits the float weights best. */
  readonly exponent: number;
  /** A solver may choose another. */
  readonly free: boolean;
}

/** Which weights share a scale: weight (r, c) uses cell `rowSet[r]·blocks + block[c]`. */
export interface ScaleSharing {
  readonly rowSet: Int32Array;
  readonly sets: number;
  readonly block: Int32Array;
  readonly blocks: number;
}

/**
 * Second moments of what a layer sees, X̂ [n × cols] per group, and of what it should give, Y [n × rows] without bias.
 * All are divided by n.
 */
export interface Moments {
  /** n: samples times positions. */
  readonly count: number;
  /** X̂ᵀX̂ per group, [cols × cols]. */
  readonly gram: readonly Float64Array[];
  /** Column means of X̂ per group, [cols]. */
  readonly mean: readonly Float64Array[];
  /** Absent where the layer is to give what it gives now, Y = X̂Wᵀ. */
  readonly target?: Target;
}

export interface Target {
  /** YᵀX̂, [rows × cols]. */
  readonly product: Float64Array;
  /** Column means of Y, [rows]. */
  readonly mean: Float64Array;
  /** Column means of Y², [rows]. */
  readonly energy: Float64Array;
}

/**
 * Rounding of one layer as a quadratic problem: minimize over codes and scales (and a bias, where the layer has one)
 * `Σ_r importance_r · ‖X̂ŵ_r + b_r − y_r‖²`.
 */
export interface LayerProblem {
  readonly name: string;
  /** Output channels. Rows of group g are [g·rows/groups, (g+1)·rows/groups). */
  readonly rows: number;
  /** Reduction depth inside one group. */
  readonly cols: number;
  readonly groups: number;
  /** [rows × cols], row-major. */
  readonly weight: Float32Array;
  readonly moments: Moments;
  /** Moments of samples that `moments` has not seen, for the honest error. */
  readonly heldOut?: Moments;
  /** The layer can take a bias correction, so means cost nothing. */
  readonly freeBias: boolean;
  /** Weight of each output channel's error, [rows]; 1 when absent. */
  readonly importance?: Float32Array;
  /** 1 where a weight may be non-zero, [rows × cols]. */
  readonly mask?: Uint8Array;
  readonly grid: WeightGrid;
  readonly sharing: ScaleSharing;
  /** Least scale of every cell, [sets · blocks]. */
  readonly minimumScale?: Float64Array;
  /** Scales that the plan has already, one a cell; only on grids whose scales do not move. */
  readonly givenScale?: Float64Array;
}

/** Codes with their parameters: what every solver looks for. */
export interface QuantizedMatrix {
  /** [rows × cols]. */
  readonly codes: Int32Array;
  /** One a cell, [sets · blocks]. */
  readonly scale: Float64Array;
  readonly zeroPoint: Int32Array;
  /** a of a power grid, which then has no zero points. */
  readonly exponent?: number;
  /** Levels of a codebook, or the table of words, where they are no longer those of the grid. */
  readonly levels?: readonly number[];
}

/** A solver's answer, with the relative error `‖X̂Ŵᵀ + b − Y‖² / ‖Y‖²` of nearest rounding and of the answer. */
export interface LayerSolution extends QuantizedMatrix {
  readonly solver: string;
  /** Added to the layer's bias, [rows]; only where the problem allows one. */
  readonly biasCorrection?: Float64Array;
  readonly error: LayerError;
  /** True when the solver did no better than nearest, and nearest was kept. */
  readonly fellBack: boolean;
}

export interface LayerError {
  readonly nearest: number;
  readonly fit: number;
  readonly heldOut?: number;
  readonly heldOutNearest?: number;
}

/** Group of a row. */
export function groupOf(problem: Pick<LayerProblem, 'rows' | 'groups'>, row: number): number {
  return Math.floor(row / (problem.rows / problem.groups));
}

/** Sharing for one scale a tensor, one a row, or one for every `blockSize` columns of a row. */
export function shareScales(
  rows: number,
  cols: number,
  granularity: 'tensor' | 'channel' | 'block',
  blockSize = cols,
): ScaleSharing {
  const blocks = granularity === 'block' ? Math.ceil(cols / blockSize) : 1;
  return {
    rowSet: Int32Array.from({ length: rows }, (_, r) => (granularity === 'tensor' ? 0 : r)),
    sets: granularity === 'tensor' ? 1 : rows,
    block: Int32Array.from({ length: cols }, (_, c) => (blocks === 1 ? 0 : Math.floor(c / blockSize))),
    blocks,
  };
}

/** Cells as groups of a [rows × cols] matrix. */
export function cellGrouping({ rowSet, sets, block, blocks }: ScaleSharing): Grouping {
  const cols = block.length;
  return {
    count: sets * blocks,
    of: (i) => (rowSet[Math.floor(i / cols)] as number) * blocks + (block[i % cols] as number),
  };
}

/** The real value of every weight, [rows × cols]. */
export function dequantize(
  problem: Pick<LayerProblem, 'rows' | 'cols' | 'sharing' | 'mask' | 'grid'>,
  quantized: QuantizedMatrix,
): Float64Array {
  const { rows, cols, sharing, mask } = problem;
  const { codes, scale, zeroPoint } = quantized;
  const level = levelsOf(problem.grid, quantized.exponent);
  assert(codes.length === rows * cols, `${codes.length} codes for a ${rows}×${cols} matrix`);
  const out = new Float64Array(rows * cols);
  for (let r = 0, i = 0; r < rows; r++) {
    const base = (sharing.rowSet[r] as number) * sharing.blocks;
    for (let c = 0; c < cols; c++, i++) {
      const cell = base + (sharing.block[c] as number);
      if (mask === undefined || mask[i] === 1)
        out[i] = level((codes[i] as number) - (zeroPoint[cell] as number)) * (scale[cell] as number);
    }
  }
  return out;
}

/** From a code less its zero point to its level. */
function levelsOf({ low, high }: WeightGrid, exponent: number | undefined): (code: number) => number {
  if (exponent === undefined) return (code) => code;
  const table = Float64Array.from(
    { length: high - low + 1 },
    (_, i) => Math.sign(low + i) * (Math.abs(low + i) / high) ** (1 / exponent),
  );
  return (code) => table[code - low] as number;
}
