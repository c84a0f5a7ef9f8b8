/** What the reference kernels are given and give back. */
import { type Codes } from './codes.js';
import { type CodeValue } from './program.js';

/** Accumulator values before rescaling, with their shape. Float64, because they may exceed int32. */
export interface Accumulators {
  readonly dims: readonly number[];
  readonly data: Float64Array;
}

/** Access to operands for the kernels. */
export interface Operands {
  /** Integers of a value or constant, zero point subtracted. */
  integers(name: string): Codes;
  /** Codes of a value as they are; of a constant its integers. */
  codes(name: string): Codes;
  value(name: string): CodeValue;
}
