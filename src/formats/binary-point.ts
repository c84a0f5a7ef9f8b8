/**
 * Choosing the binary point of a fixed-point format, three ways (QFX, arXiv 2401.17544): from the range, by exhaustive
 * search, or by gradient.
 */
import { meanSquaredError, fitParameters } from './fit.js';
import { fixedPoint, fractionFor, type FixedFormat } from './fixed.js';
import { sampleAbsmax, type Sample } from './sample.js';

export type BinaryPointMethod = 'range' | 'search' | 'gradient';

/** F for a sample. `format` gives width, sign and modes; its own F, if any, is ignored. */
export function chooseBinaryPoint(format: FixedFormat, sample: Sample, method: BinaryPointMethod): number {
  const open = withFraction(format, undefined);
  if (method === 'gradient') return learnBinaryPoint(open, sample);
  const fit = fitParameters(open, sample, {
    method: method === 'search' ? 'mse' : 'range',
    symmetric: true,
  });
  return -Math.log2(fit.scale);
}

/** The format with another F. */
export function withFraction(format: FixedFormat, fraction: number | undefined): FixedFormat {
  const { bits, signed, rounding, overflow } = format;
  return fixedPoint({ bits, signed, rounding, overflow, fraction });
}

/** Adam's step and number of steps: a few units of F in either direction are within reach. */
const LEARNING_RATE = 0.05;
const STEPS = 200;

/**
 * Descends the squared error in a real-valued f; the forward pass uses round(f), the gradient goes straight through.
 * The last iterate swings between two neighbours, so the best one is kept.
 */
function learnBinaryPoint(format: FixedFormat, sample: Sample): number {
  const start = fractionFor(sampleAbsmax(sample), format.bits, format.signed);
  const visited = new Map<number, { error: number; slope: number }>();
  let f = start;
  let mean = 0;
  let square = 0;
  for (let step = 1; step <= STEPS; step++) {
    const rounded = Math.round(f);
    // Error and slope depend on round(f) alone, so each integer is evaluated once.
    const at = visited.get(rounded) ?? errorAndSlope(withFraction(format, rounded), sample);
    visited.set(rounded, at);
    mean = 0.9 * mean + 0.1 * at.slope;
    square = 0.999 * square + 0.001 * at.slope * at.slope;
    f -= (LEARNING_RATE * mean) / (1 - 0.9 ** step) / (Math.sqrt(square / (1 - 0.999 ** step)) + 1e-20);
  }
  let best = start;
  for (const [fraction, { error }] of visited)
    if (error < (visited.get(best)?.error ?? Infinity)) best = fraction;
  return best;
}

/** Mean squared error at F and its derivative by f, see {@link binaryPointSlope}. */
function errorAndSlope(format: FixedFormat, sample: Sample): { error: number; slope: number } {
  const scale = format.scaleFor(0);
  const { values, counts } = sample;
  let slope = 0;
  let total = 0;
  for (let i = 0; i < values.length; i++) {
    const x = values[i] as number;
    const weight = counts === undefined ? 1 : (counts[i] as number);
    if (weight === 0 || !Number.isFinite(x)) continue;
    const quantized = scale * format.decode(format.encode(x / scale));
    slope += weight * 2 * (quantized - x) * binaryPointSlope(format, x, quantized, scale);
    total += weight;
  }
  return {
    error: meanSquaredError(format, sample, { scale, zeroPoint: 0 }),
    slope: total === 0 ? 0 : slope / total,
  };
}

/** ∂x_q/∂f: ln 2 · (x − x_q) inside the range, −ln 2 · x_q where the value is clipped. */
export function binaryPointSlope(
  { low, high }: { readonly low: number; readonly high: number },
  x: number,
  quantized: number,
  scale: number,
): number {
  const inside = x >= low * scale && x <= high * scale;
  return Math.LN2 * (inside ? x - quantized : -quantized);
}
