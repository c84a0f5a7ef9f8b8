/** What calibration saw: one fixed-size sketch per tensor; adding two gives the sketch of both data sets, exactly. */

/** Bins of the histogram over the float32 bit pattern: sign, exponent and 4 bits of mantissa. */
export const SKETCH_BINS = 8192;

/** Sketch of one tensor. Everything is a count or an extreme, so merging is exact in any order. */
export interface TensorStatistics {
  readonly name: string;
  readonly count: number;
  readonly min: number;
  readonly max: number;
  readonly nan: number;
  readonly infinite: number;
  /** Counts by the top 13 bits of the float32 pattern, [SKETCH_BINS]. */
  readonly histogram: Float64Array;
  /** Extremes along the channel axis, where the tensor has one of fixed size. */
  readonly channels?: { readonly axis: number; readonly min: Float32Array; readonly max: Float32Array };
  /** Sketches of the per-sample minima and maxima, for averaged ranges, [SKETCH_BINS] each. */
  readonly sampleMin: Float64Array;
  readonly sampleMax: Float64Array;
}

export interface Statistics {
  readonly modelHash: string;
  readonly dataHash: string;
  readonly samples: number;
  /** Which shard of how many, until merged. */
  readonly shard?: { readonly index: number; readonly count: number };
  readonly tensors: ReadonlyMap<string, TensorStatistics>;
}
