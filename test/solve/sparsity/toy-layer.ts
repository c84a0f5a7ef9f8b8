/** A layer with correlated, positive inputs, as a problem: the synthetic reference of the methods notes. */
import { createRng } from '../../../src/core/index.js';
import { shareScales, type LayerProblem, type Moments } from '../../../src/solve/problem.js';
import { floatTarget } from '../../../src/solve/quadratic.js';

export interface ToyOptions {
  readonly cols?: number;
  readonly rows?: number;
  readonly samples?: number;
  /** Input columns with eight times the energy of the others. */
  readonly outliers?: number;
  readonly bits?: number;
  readonly freeBias?: boolean;
  readonly granularity?: 'tensor' | 'channel';
}

/** X = ReLU(a mix of few factors + noise), Gaussian weights; as many held-out rows as rows to fit. */
export function toyLayer(
  seed: number,
  options: ToyOptions = {},
): LayerProblem & { readonly heldOut: Moments } {
  const {
    cols = 64,
    rows = 24,
    samples = 512,
    outliers = 0,
    bits = 4,
    freeBias = false,
    granularity = 'channel',
  } = options;
  const rng = createRng(seed);
  const factors = cols / 4;
  const mix = Float64Array.from({ length: factors * cols }, () => rng.normal() / Math.sqrt(factors));
  const draw = (): Omit<Moments, 'target'> => {
    const gram = new Float64Array(cols * cols);
    const mean = new Float64Array(cols);
    const [z, x] = [new Float64Array(factors), new Float64Array(cols)];
    for (let s = 0; s < samples; s++) {
      for (let k = 0; k < factors; k++) z[k] = rng.normal();
      for (let c = 0; c < cols; c++) {
        let v = 0.3 * rng.normal();
        for (let k = 0; k < factors; k++) v += z[k]! * mix[k * cols + c]!;
        x[c] = Math.max(v, 0) * (c < outliers ? 8 : 1);
      }
      for (let i = 0; i < cols; i++) {
        mean[i]! += x[i]! / samples;
        if (x[i] !== 0) for (let j = 0; j < cols; j++) gram[i * cols + j]! += (x[i]! * x[j]!) / samples;
      }
    }
    return { count: samples, gram: [gram], mean: [mean] };
  };
  const layer = {
    name: 'toy',
    rows,
    cols,
    groups: 1,
    weight: Float32Array.from({ length: rows * cols }, () => rng.normal() / Math.sqrt(cols)),
    freeBias,
    grid: { low: -(2 ** (bits - 1)), high: 2 ** (bits - 1) - 1, symmetric: true },
    sharing: shareScales(rows, cols, granularity),
  };
  const [fit, heldOut] = [draw(), draw()];
  return {
    ...layer,
    moments: { ...fit, target: floatTarget(layer, fit) },
    heldOut: { ...heldOut, target: floatTarget(layer, heldOut) },
  };
}
