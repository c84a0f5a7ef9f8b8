/** Element types: stored numbers into the type of the model input, exactly or not at all. */
import { FxqError } from '../core/index.js';
import {
  bfloat16ToNumber,
  createArray,
  float16ToNumber,
  integerRange,
  numberToBfloat16,
  numberToFloat16,
  type DType,
  type Tensor,
  type TypedArray,
} from '../tensor/index.js';

/** Element types whose numbers are real; rounding between them is what types are for. */
const FLOATS = new Set<DType>(['float32', 'float64', 'float16', 'bfloat16']);

/** Integers up to 2^p are exact in a float type with p bits of mantissa (the leading one included). */
const MANTISSA: Partial<Record<DType, number>> = { float32: 24, float64: 53, float16: 11, bfloat16: 8 };

const INTEGERS = new Set<DType>([
  'int8',
  'uint8',
  'int16',
  'uint16',
  'int32',
  'uint32',
  'int64',
  'uint64',
  'bool',
]);

/** Whether samples of one type can become another at all; element values may still forbid it. */
export function isConvertible(from: DType, to: DType): boolean {
  return from === to || [from, to].every((t) => FLOATS.has(t) || INTEGERS.has(t));
}

/** Whether values of `from` may be rounded in `to`: a float type into one with less precision. */
export function isRounding(from: DType, to: DType): boolean {
  return FLOATS.has(from) && FLOATS.has(to) && (MANTISSA[from] ?? 0) > (MANTISSA[to] ?? 0);
}

/**
 * The sample in another element type. Floats are rounded to the nearest; everything else must be representable.
 *
 * @param what the sample, for messages: `sample 3 of x.npy`
 * @throws FxqError E_DATA for NaN, infinities, and values the type does not have
 */
export function convertSample(sample: Tensor, to: DType, what: string): TypedArray {
  const { dtype, data } = sample;
  if (FLOATS.has(dtype)) requireFinite(sample, what);
  if (dtype === to) return data;
  const out = createArray(to, data.length);
  const refuse = (i: number, value: number | bigint): never => {
    throw new FxqError(
      'E_DATA',
      `${what} holds ${value} at ${place(sample.dims, i)}, which ${to} cannot represent`,
      `Convert the array to ${to} the way the model means it.`,
    );
  };
  const read = reader(sample);
  if (out instanceof BigInt64Array || out instanceof BigUint64Array) {
    const unsigned = to === 'uint64';
    for (let i = 0; i < out.length; i++) {
      const value = read(i);
      if (!Number.isInteger(value) || (unsigned && value < 0)) refuse(i, value);
      out[i] = BigInt(value);
    }
    return out;
  }
  const accepts = acceptor(dtype, to);
  const write = to === 'float16' ? numberToFloat16 : to === 'bfloat16' ? numberToBfloat16 : undefined;
  for (let i = 0; i < out.length; i++) {
    const value = read(i);
    if (!accepts(value)) refuse(i, value);
    out[i] = write === undefined ? value : write(value);
  }
  return out;
}

/** Largest finite number of the float types. */
const LARGEST: Partial<Record<DType, number>> = {
  float16: 65504,
  bfloat16: 3.3895e38,
  float32: 3.4028234663852886e38,
};

/** Tells which numbers of one type another can take. */
function acceptor(from: DType, to: DType): (value: number) => boolean {
  if (FLOATS.has(to)) {
    if (FLOATS.has(from)) {
      const limit = LARGEST[to] ?? Infinity;
      return (value) => Math.abs(value) <= limit;
    }
    const limit = 2 ** (MANTISSA[to] ?? 0);
    return (value) => Math.abs(value) <= limit;
  }
  if (to === 'bool') return (value) => value === 0 || value === 1;
  const { low, high } = integerRange(to);
  return (value) => Number.isInteger(value) && value >= low && value <= high;
}

function reader({ dtype, data }: Tensor): (i: number) => number {
  if (dtype === 'float16') return (i) => float16ToNumber(data[i] as number);
  if (dtype === 'bfloat16') return (i) => bfloat16ToNumber(data[i] as number);
  return (i) => Number(data[i]);
}

/** Fails on the first NaN or infinity. */
export function requireFinite(sample: Tensor, what: string): void {
  const { data, dtype } = sample;
  if (data instanceof BigInt64Array || data instanceof BigUint64Array) return;
  const read = dtype === 'float16' || dtype === 'bfloat16' ? reader(sample) : undefined;
  for (let i = 0; i < data.length; i++) {
    const value = read === undefined ? (data[i] as number) : read(i);
    // NaN and ±Infinity are the numbers whose difference with themselves is not zero.
    if (value - value === 0) continue;
    throw new FxqError(
      'E_DATA',
      `${what} holds ${value} at ${place(sample.dims, i)}`,
      'Remove the sample or repair the array.',
    );
  }
}

/** `[2, 0, 5]` for a row-major index. */
function place(dims: readonly number[], index: number): string {
  const at: number[] = [];
  for (const d of [...dims].reverse()) {
    at.unshift(index % d);
    index = Math.floor(index / d);
  }
  return `[${at.join(', ')}]`;
}
