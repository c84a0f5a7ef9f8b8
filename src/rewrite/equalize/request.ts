/** What may be asked of equalization. */

/**
 * - `cross-layer`: rows and columns of neighbouring layers, from the weights alone
 * - `absorb`: biases that a channel never falls below, behind the Relu
 * - `smooth`: activations of matrix products against their weights
 */
export const EQUALIZATIONS = ['cross-layer', 'absorb', 'smooth'] as const;
export type Equalization = (typeof EQUALIZATIONS)[number];

export interface EqualizeRequest {
  readonly steps: readonly Equalization[];
  /** α of smoothing, or `auto` for the best on calibration samples, group by group. */
  readonly alpha: number | 'auto';
  /** Smooth also where a multiplication must be inserted. */
  readonly insert: boolean;
}
