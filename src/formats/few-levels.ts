/**
 * Binary and ternary weights (XNOR-Net, arXiv 1603.05279; ternary weight networks, arXiv 1605.04711): one magnitude for
 * a group, with the scale of least squared error in closed form.
 */
import { affineInteger } from './affine.js';
import { type FormatFamily, type NumberFormat } from './format.js';
import { float32Scale } from './binary-exponent.js';
import { type Sample } from './sample.js';

/** Levels −1 and 1; zero counts as positive. Stored as 2-bit integers, the narrowest ONNX has. */
export function binary(): NumberFormat {
  return {
    ...affineInteger(2, true, true),
    name: 'binary',
    family: 'few-levels',
    bits: 1,
    uniform: false,
    affine: false,
    onnx: 'dequantize',
    encode: (x) => (x < 0 ? -1 : 1),
    leastSquaresScale: (sample) => float32Scale(meanMagnitude(sample)),
  };
}

/** Levels −1, 0 and 1. */
export function ternary(): NumberFormat {
  return {
    ...affineInteger(2, true, true),
    name: 'ternary',
    family: 'few-levels',
    affine: false,
    leastSquaresScale: (sample) => float32Scale(ternaryMagnitude(sample)),
  };
}

/** s = mean |w|, the least-squares scale of sign(w). */
function meanMagnitude({ values, counts }: Sample): number {
  let sum = 0;
  let total = 0;
  for (let i = 0; i < values.length; i++) {
    const value = Math.abs(values[i] as number);
    if (!Number.isFinite(value)) continue;
    const count = counts?.[i] ?? 1;
    sum += count * value;
    total += count;
  }
  return total === 0 ? 0 : sum / total;
}

/**
 * With the k largest magnitudes kept, their mean is the best scale and (Σ |w|)²/k what it explains; the best k is found
 * by trying all. Levels nearest at that scale are those k, since its half separates them from the others.
 */
function ternaryMagnitude({ values, counts }: Sample): number {
  const order = Array.from(values, (value, i): [number, number] => [Math.abs(value), counts?.[i] ?? 1])
    .filter(([value]) => Number.isFinite(value))
    .sort((a, b) => b[0] - a[0]);
  let [sum, kept, explained, best] = [0, 0, 0, 0];
  for (const [value, count] of order) {
    sum += count * value;
    kept += count;
    if (kept === 0 || (sum * sum) / kept <= explained) continue;
    explained = (sum * sum) / kept;
    best = sum / kept;
  }
  return best;
}

export const FEW_LEVELS: FormatFamily = {
  syntax: 'ternary, binary',
  members: ['ternary', 'binary'],
  parse: (name) => (name === 'ternary' ? ternary() : name === 'binary' ? binary() : undefined),
};
