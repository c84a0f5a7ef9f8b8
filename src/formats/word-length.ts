/**
 * Word length by information content: the smallest ⟨W, F⟩ whose quantized histogram cannot be told from the float one
 * at a given resolution (the PushDown step of AdaPT, arXiv 2107.13490), and AdaPT's analytical cost model.
 */
import { klDivergence } from '../tensor/index.js';
import { ceilLog2, floorLog2 } from './binary-exponent.js';
import { castToWord, wordOf } from './rounding.js';
import { sampleRange, type Sample } from './sample.js';

/** The smallest word that keeps the information of a sample. */
export interface WordLength {
  /** W, with the sign bit where there is one. */
  readonly bits: number;
  /** F. */
  readonly fraction: number;
  /** KL(p ‖ p̂) of the chosen word, nats. */
  readonly divergence: number;
}

export interface WordLengthOptions {
  /** Bins over [min, max]: the resolution at which the histograms are compared. */
  readonly resolution: number;
  /** Largest KL divergence that counts as indistinguishable, nats. */
  readonly epsilon: number;
}

/** Published defaults: resolution 50…150; 1e-2 is aggressive. */
export const WORD_LENGTH_DEFAULTS: WordLengthOptions = { resolution: 100, epsilon: 1e-3 };

/** Fractional bits tried beyond the coarsest useful step. */
const FRACTION_STEPS = 25;

/** Widths below the one that holds the range, tried with saturation. */
const SATURATING_STEPS = 2;

/**
 * The smallest ⟨W, F⟩ with KL(p ‖ p̂) ≤ ε, rounding to nearest. F is found first, without clipping; then W is the width
 * that holds the range, reduced while saturation keeps the divergence below ε.
 *
 * @param signed false for values that are never negative: a word without a sign bit
 * @param widest a longer word is cut to this many bits, from below; its divergence is that of the cut word
 */
export function informationWordLength(
  sample: Sample,
  { resolution, epsilon }: WordLengthOptions = WORD_LENGTH_DEFAULTS,
  signed = true,
  widest = Infinity,
): WordLength {
  const range = sampleRange(sample);
  const absmax = Math.max(-range.low, range.high);
  if (absmax === 0) return { bits: 2, fraction: 0, divergence: 0 };
  const float = histogram(sample, range, resolution, (x) => x);
  const divergenceOf = (bits: number, fraction: number): number => {
    const word = wordOf(bits, signed, 'AP_SAT');
    const unit = 2 ** -fraction;
    return klDivergence(
      float,
      histogram(sample, range, resolution, (x) => unit * castToWord(x / unit, word, 'AP_RND_CONV', 'AP_SAT')),
    );
  };

  // One unit spans the whole range here; every smaller F rounds everything to zero.
  const coarsest = -floorLog2(absmax) - 1;
  let fraction = coarsest;
  let divergence = divergenceOf(UNBOUNDED_BITS, fraction);
  while (divergence > epsilon && fraction < coarsest + FRACTION_STEPS)
    divergence = divergenceOf(UNBOUNDED_BITS, ++fraction);

  let bits = Math.max(2, fraction + Number(signed) + ceilLog2(absmax + 2 ** (-fraction - 1)));
  for (let step = 0; step < SATURATING_STEPS && bits > 2; step++) {
    const narrower = divergenceOf(bits - 1, fraction);
    if (narrower > epsilon) break;
    bits--;
    divergence = narrower;
  }
  if (bits > widest) {
    fraction -= bits - widest;
    return { bits: widest, fraction, divergence: divergenceOf(widest, fraction) };
  }
  return { bits, fraction, divergence };
}

/** Wide enough that nothing is clipped while F is looked for. */
const UNBOUNDED_BITS = 50;

/** Share of the mass in each of `bins` equal bins over the range, after a change of the values. */
function histogram(
  { values, counts }: Sample,
  { low, high }: { readonly low: number; readonly high: number },
  bins: number,
  change: (x: number) => number,
): Float64Array {
  const mass = new Float64Array(bins);
  let total = 0;
  for (let i = 0; i < values.length; i++) {
    const x = values[i] as number;
    const weight = counts === undefined ? 1 : (counts[i] as number);
    if (weight === 0 || !Number.isFinite(x)) continue;
    const at = Math.floor(((change(x) - low) / (high - low || 1)) * bins);
    const bin = Math.min(Math.max(at, 0), bins - 1);
    mass[bin] = (mass[bin] ?? 0) + weight;
    total += weight;
  }
  return mass.map((count) => count / total);
}

/** What the cost model needs to know of one layer. */
export interface LayerCost {
  /** Multiply–accumulate operations of one inference. */
  readonly macs: number;
  /** Word length of the layer's weights. */
  readonly bits: number;
  /** Share of weights that are zero. */
  readonly sparsity: number;
}

export interface ModelCost {
  /** Σ (1 − sparsity) · MACs · W. */
  readonly bitOperations: number;
  /** The same at 32 bits and without sparsity. */
  readonly floatBitOperations: number;
  /** Predicted, not measured: ratio of the two. */
  readonly speedup: number;
  /** mean(1 − sparsity) · ΣW / Σ32, one term a layer whatever its size, as published. */
  readonly sizeRatio: number;
}

/** What {@link predictCost} takes for granted. */
export const COST_ASSUMPTIONS = [
  'time is proportional to the word length of the weights times the operations with non-zero weights',
  'no memory traffic, no indices for zero weights, word lengths of activations not counted',
  'size: one term a layer whatever its number of weights, as published',
] as const;

/** AdaPT's analytical model of inference, under {@link COST_ASSUMPTIONS}: a prediction, not a measurement. */
export function predictCost(layers: readonly LayerCost[]): ModelCost {
  const sum = (term: (layer: LayerCost) => number): number => layers.reduce((s, layer) => s + term(layer), 0);
  const bitOperations = sum(({ macs, bits, sparsity }) => (1 - sparsity) * macs * bits);
  const floatBitOperations = sum(({ macs }) => 32 * macs);
  const density = layers.length === 0 ? 1 : sum(({ sparsity }) => 1 - sparsity) / layers.length;
  return {
    bitOperations,
    floatBitOperations,
    speedup: bitOperations === 0 ? Infinity : floatBitOperations / bitOperations,
    sizeRatio: layers.length === 0 ? 1 : (density * sum(({ bits }) => bits)) / (32 * layers.length),
  };
}
