/** What solving hands on: codes, corrected biases, and an account of what each step bought. */
import { type SolvedWeight } from '../plan/index.js';
import { type Tensor } from '../tensor/index.js';
import { type LayerError } from './problem.js';

/** Weights and biases of a network, by initializer. */
export interface NetworkValues {
  readonly weights: ReadonlyMap<string, SolvedWeight>;
  readonly biases: ReadonlyMap<string, Tensor>;
}

/** What a solver did for one weight. */
export interface LayerReport {
  readonly weight: string;
  readonly node: string;
  readonly solver: string;
  /** Relative errors of the layer's output: nearest rounding and the answer, on samples seen and not seen. */
  readonly error: LayerError;
  readonly fellBack: boolean;
  /** a of a power grid, learned where the format leaves it open. */
  readonly exponent?: number;
  /** What learning its block bought; the errors above are those of the solver before it. */
  readonly block?: BlockReport;
}

export interface SolvedLayers extends NetworkValues {
  readonly reports: readonly LayerReport[];
}

/** What learning a block bought: errors of its outputs relative to the float network's, on samples seen and not seen. */
export interface BlockReport {
  readonly name: string;
  readonly layers: readonly string[];
  /** The solver whose codes had the least error, where learning began. */
  readonly start: string;
  readonly error: BlockErrorReport;
  /** False when the start was no worse on held-out samples (or, without any, on those seen), and was kept. */
  readonly adopted: boolean;
  /** Share of the codes that moved. */
  readonly moved: number;
}

export interface BlockErrorReport {
  readonly fit: StageErrors;
  readonly heldOut?: StageErrors;
}

/** Errors of nearest rounding, of the codes learning began with, and of the learned ones. */
export interface StageErrors {
  readonly nearest: number;
  readonly start: number;
  readonly learned: number;
}
