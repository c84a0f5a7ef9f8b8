/** What choosing number formats found out, kept in the manifest beside a model. */
import { type ModelCost, type ShiftAddCount } from '../formats/index.js';

/** Ways to choose the binary points of formats that leave them open. */
export const BINARY_POINT_METHODS = ['ranges', 'exhaustive', 'learned'] as const;
export type BinaryPointMethod = (typeof BINARY_POINT_METHODS)[number];

/** How close the outputs come with binary points by one method: mean signal-to-noise ratio, dB. */
export interface BinaryPointTrial {
  readonly method: BinaryPointMethod;
  /** On the samples the points were chosen from. */
  readonly fit: number;
  /** On calibration samples nobody has looked at; absent where there are too few. */
  readonly heldOut?: number;
}

export interface BinaryPointEvidence {
  /** The way asked for. */
  readonly method: BinaryPointMethod;
  /** The way whose points were kept, where learned ones lose on samples that learning has not seen. */
  readonly kept?: BinaryPointMethod;
  readonly trials: readonly BinaryPointTrial[];
  /** Numbers that learning was free to move, and how many it moved. */
  readonly learned?: { readonly points: number; readonly moved: number; readonly skipped: readonly string[] };
}

/** The word chosen for one tensor. */
export interface ChosenWord {
  readonly tensor: string;
  readonly bits: number;
  readonly fraction: number;
  /** KL divergence, nats. */
  readonly divergence: number;
}

export interface WeightWord extends ChosenWord {
  readonly node: string;
  readonly elements: number;
  readonly macs: number;
  /** Share of weights that are zero after rounding. */
  readonly sparsity: number;
}

export interface WordLengthEvidence {
  readonly resolution: number;
  readonly epsilon: number;
  readonly weights: readonly WeightWord[];
  readonly activations: readonly ChosenWord[];
  /** Predicted from the weights' words by AdaPT's analytical model. */
  readonly cost: ModelCost;
  readonly assumptions: readonly string[];
}

/** Shifts and additions that replace the multiplications of one inference. */
export interface ShiftAddEvidence extends ShiftAddCount {
  readonly tensor: string;
  readonly format: string;
}

/** How far the QDQ form of a plan is from its integer form. */
export interface DifferenceEvidence {
  readonly samples: number;
  /** Output values compared, and those that differ. */
  readonly values: number;
  readonly differing: number;
  /** Largest difference in steps of the output's grid. */
  readonly largestStep: number;
}

/** Everything that is known; fields are absent where a plan has nothing of the kind. */
export interface FormatEvidence {
  readonly binaryPoints?: BinaryPointEvidence;
  readonly wordLengths?: WordLengthEvidence;
  readonly shiftAdds?: readonly ShiftAddEvidence[];
  readonly differences?: DifferenceEvidence;
}
