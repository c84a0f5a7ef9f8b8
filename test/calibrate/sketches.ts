/** Sketches of samples drawn in a test. */
import { createRng, type Rng } from '../../src/core/index.js';
import {
  addElements,
  addExtremes,
  emptySketch,
  type Statistics,
  type TensorStatistics,
} from '../../src/calibrate/index.js';
import { type Tensor } from '../../src/tensor/index.js';

/** The sketch of some samples, each a list of elements. */
export function sketchOf(samples: readonly ArrayLike<number>[], name = 'x'): TensorStatistics {
  const sketch = emptySketch(name);
  for (const sample of samples) {
    const elements = Float32Array.from(sample);
    addElements(sketch, elements);
    addExtremes(sketch, 'min', elements, 1);
    addExtremes(sketch, 'max', elements, 1);
  }
  return sketch;
}

/** `count` draws. */
export function draw(count: number, next: (rng: Rng) => number, seed = 1): Float64Array {
  const rng = createRng(seed);
  return Float64Array.from({ length: count }, () => next(rng));
}

export const gaussian = (rng: Rng): number => rng.normal();
export const laplace = (rng: Rng): number => (rng.uniform() < 0.5 ? -1 : 1) * Math.log(1 - rng.uniform());
export const uniform = (rng: Rng): number => 2 * rng.uniform() - 1;

/** Statistics of a model's input `x`, as one sample. */
export function statisticsOf({ data }: Tensor): Statistics {
  return {
    modelHash: '',
    dataHash: '',
    synthetic: false,
    samples: 1,
    elementsPerSample: Infinity,
    tensors: new Map([['x', sketchOf([data as Float32Array])]]),
  };
}
