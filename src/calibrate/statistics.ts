/** What calibration saw: one fixed-size sketch a tensor; adding two gives the sketch of both data sets, exactly. */

/** Sketch of one tensor. Everything is a count or an extreme, so merging is exact in any order. */
export interface TensorStatistics {
  readonly name: string;
  /** Elements counted: all of small tensors, a lattice of large ones. */
  readonly count: number;
  /** NaN and infinities among them; they are in no bin. */
  readonly nan: number;
  readonly infinite: number;
  /** The others by bin, [SKETCH_BINS]; see `sketch.ts`. */
  readonly histogram: Float64Array;
  /** Smallest and largest of all elements; min > max when there was none. Infinities count, NaN does not. */
  readonly min: number;
  readonly max: number;
  /** Extremes along the channel axis, where the tensor has one of fixed size. */
  readonly channels?: ChannelExtremes;
  /** Each sample's smallest and largest element by bin, for averaged ranges, [SKETCH_BINS]. */
  readonly sampleMin: Float64Array;
  readonly sampleMax: Float64Array;
}

/** Extremes of every channel over all samples and positions. */
export interface ChannelExtremes {
  readonly axis: number;
  readonly min: Float32Array;
  readonly max: Float32Array;
}

/** The part of a data set that statistics cover. */
export interface Shards {
  /** How many parts the data set was divided into. */
  readonly count: number;
  /** Which of them, ascending, counted from 0. */
  readonly indices: readonly number[];
}

export interface Statistics {
  /** Content hash of the model whose values these are; see `hashModel`. */
  readonly modelHash: string;
  /** Content hash of the whole data set, also when only a part of it was seen. */
  readonly dataHash: string;
  /** The data were random numbers or synthesized, not recorded. */
  readonly synthetic: boolean;
  readonly samples: number;
  /** About how many elements of a sample were counted at most; Infinity for all. */
  readonly elementsPerSample: number;
  /** Absent when the whole data set was seen. */
  readonly shards?: Shards;
  /** By value name, in name order. */
  readonly tensors: ReadonlyMap<string, TensorStatistics>;
}
