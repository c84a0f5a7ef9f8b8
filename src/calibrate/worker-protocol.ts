/** What passes between the main thread and a worker that observes; replies come in the order of the requests. */
import { type ErrorCode } from '../core/index.js';
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

export type Reply =
  | { readonly kind: 'observed' }
  | { readonly kind: 'sketches'; readonly sketches: readonly TensorStatistics[] }
  | {
      readonly kind: 'failed';
      readonly code: ErrorCode;
      readonly message: string;
      readonly fix: readonly string[];
    };
