/** What passes between the main thread and a worker that observes. */
import { type Tensor } from '../tensor/index.js';
import { type TensorStatistics } from './statistics.js';
import { type Tap } from './taps.js';

export interface WorkerJob {
  /** Serialized, with the outputs of its taps. */
  readonly model: Uint8Array;
  readonly taps: readonly Tap[];
}

export type Request =
  | { readonly kind: 'observe'; readonly count: number; readonly inputs: ReadonlyMap<string, Tensor> }
  | { readonly kind: 'sketches' };

/** Sketches where they were asked for. */
export type Answer = readonly TensorStatistics[] | undefined;
