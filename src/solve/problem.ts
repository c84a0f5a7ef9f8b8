/** The one lens of weighted layers: a matrix, the Gram matrix of its inputs, and the grid its codes live on. */

/** The integer grid and how scales are shared along a row. */
export interface WeightGrid {
  /** Lowest and highest code, for example −8 and 7. */
  readonly low: number;
  readonly high: number;
  /** Zero point fixed at 0. */
  readonly symmetric: boolean;
  /** One scale for all rows, one a row, or one for every `blockSize` columns of a row. */
  readonly granularity: 'tensor' | 'channel' | 'block';
  readonly blockSize?: number;
}

/**
 * Rounding of one layer as a quadratic problem. With inputs X (float) and X̂ (from the quantized prefix), per group:
 * `‖X̂Ŵᵀ − XWᵀ‖² = tr(ŴHŴᵀ) − 2 tr(ŴGWᵀ) + const`, H = X̂ᵀX̂, G = X̂ᵀX, both divided by the number of rows of X.
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
  /** H per group, [cols × cols]. */
  readonly gram: readonly Float64Array[];
  /** G per group when inputs are quantized, [cols × cols]; H itself otherwise. */
  readonly cross?: readonly Float64Array[];
  /** Mean of the inputs per group [cols], for bias correction. */
  readonly inputMean?: readonly Float64Array[];
  /** Held-out Gram matrices from samples not in `gram`, for the honest error. */
  readonly heldOut?: readonly Float64Array[];
  /** Rows of X behind `gram`: samples times positions. */
  readonly samples: number;
  /** Weight of each output channel's error; 1 when absent. */
  readonly importance?: Float32Array;
  /** 1 where a weight may be non-zero, [rows × cols]. */
  readonly mask?: Uint8Array;
  readonly grid: WeightGrid;
}

/** Codes and parameters, and the relative error `‖X̂Ŵᵀ − XWᵀ‖² / ‖XWᵀ‖²` before (nearest) and after. */
export interface LayerSolution {
  readonly solver: string;
  /** [rows × cols]. */
  readonly codes: Int32Array;
  /** [1], [rows], or [rows × blocks]. */
  readonly scale: Float32Array;
  readonly zeroPoint: Int32Array;
  readonly biasCorrection?: Float32Array;
  readonly error: {
    readonly nearest: number;
    readonly fit: number;
    readonly heldOut?: number;
    readonly heldOutNearest?: number;
  };
  /** True when the solver did no better than nearest and nearest was kept. */
  readonly fellBack: boolean;
}
