/** Settings of distillation, and what each effort means. */
import { type Effort } from '../solvers.js';

/**
 * How features are weighted against each other: by what the solved network lost at each of them (GPUSQ-ViT), all alike,
 * or not at all.
 */
export const FEATURE_WEIGHTS = ['residual', 'uniform', 'none'] as const;
export type FeatureWeights = (typeof FEATURE_WEIGHTS)[number];

export interface DistillSettings {
  /** Steps of Adam. */
  readonly steps: number;
  /** Samples of one step, at most; fewer where activations are large. */
  readonly batch: number;
  /** Greatest learning rate, in units of a typical weight of each tensor. */
  readonly rate: number;
  readonly features: FeatureWeights;
  /** Sum of the features' weights beside the output's loss, which has weight 1. */
  readonly featureWeight: number;
  /** Share of the samples of a step that are mixtures of two: more inputs than there are samples. */
  readonly mix: number;
}

const STEPS: Readonly<Record<Effort, number>> = { fast: 100, balanced: 400, best: 1600 };

export const DISTILL_DEFAULTS: Omit<DistillSettings, 'steps'> = {
  batch: 32,
  rate: 3e-3,
  features: 'residual',
  featureWeight: 4,
  mix: 0.5,
};

/** Settings of an effort, with what the user chose. */
export function distillSettings(effort: Effort, chosen: Partial<DistillSettings>): DistillSettings {
  return { ...DISTILL_DEFAULTS, steps: STEPS[effort], ...chosen };
}
