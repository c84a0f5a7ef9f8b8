/** Random samples, for when there are no data: never chosen unless asked for by name. */
import { type Rng } from '../core/index.js';
import { createArray, integerRange, sizeOf, type DType, type Tensor } from '../tensor/index.js';
import { type ModelInput } from './inputs.js';
import { constantDims } from './fill.js';
import { bytesOf, type SourceArray } from './source.js';
import { type InputSpec } from './spec.js';

/** Samples when no number is given. */
const DEFAULT_COUNT = 16;

/** Standard normal floats, integers in [0, below), one array for each input. */
export function randomArrays(
  inputs: readonly ModelInput[],
  specs: Readonly<Record<string, InputSpec>>,
  count: number | undefined,
  rng: Rng,
): SourceArray[] {
  return inputs.map((input) => {
    const { below = 2 } = specs[input.name] ?? {};
    const dims = constantDims(input);
    const read = (sample: number): Tensor =>
      draw(input.dtype, dims, below, rng.fork(`${input.name}/${sample}`));
    return {
      name: input.name,
      label: `random ${input.name}`,
      count: count ?? DEFAULT_COUNT,
      dtype: input.dtype,
      dims,
      whole: false,
      image: false,
      read,
      bytes: (sample) => bytesOf(read(sample)),
    };
  });
}

function draw(dtype: DType, dims: readonly number[], below: number, rng: Rng): Tensor {
  const length = sizeOf(dims);
  if (dtype === 'float32' || dtype === 'float64' || dtype === 'float16' || dtype === 'bfloat16')
    return { dtype: 'float32', dims, data: Float32Array.from({ length }, () => rng.normal()) };
  const data = createArray(dtype, length);
  const limit = Math.min(dtype === 'bool' ? 2 : below, integerRange(dtype).high + 1);
  for (let i = 0; i < length; i++) {
    const value = rng.below(limit);
    if (data instanceof BigInt64Array || data instanceof BigUint64Array) data[i] = BigInt(value);
    else data[i] = value;
  }
  return { dtype, dims, data };
}
