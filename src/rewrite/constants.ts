/** Arithmetic on real constants in float64, rounded once into the constant's own element type. */
import {
  numberToBfloat16,
  numberToFloat16,
  sizeOf,
  tensor,
  toFloat32,
  type Tensor,
} from '../tensor/index.js';
import { refuse, type Refusal } from './rule.js';

/** Elements of a float constant as float64; undefined for other element types. */
export function realsOf(t: Tensor): Float64Array | undefined {
  if (t.dtype === 'float64') return t.data as Float64Array;
  if (t.dtype === 'float32' || t.dtype === 'float16' || t.dtype === 'bfloat16')
    return Float64Array.from(toFloat32(t));
  return undefined;
}

/** A float tensor of the same element type as `like`, from float64 elements. */
export function roundReals(like: Tensor, dims: readonly number[], values: Float64Array): Tensor {
  if (like.dtype === 'float16') return tensor('float16', dims, Uint16Array.from(values, numberToFloat16));
  if (like.dtype === 'bfloat16') return tensor('bfloat16', dims, Uint16Array.from(values, numberToBfloat16));
  return like.dtype === 'float64'
    ? tensor('float64', dims, values)
    : tensor('float32', dims, Float32Array.from(values));
}

/** Where the channels of a value lie: `fromEnd` 1 is the last axis. `rank` is undefined when unknown. */
export interface ChannelAxis {
  readonly channels: number;
  readonly fromEnd: number;
  readonly rank: number | undefined;
}

/**
 * A constant as one number a channel, when it broadcasts along the channel axis only (or is a scalar).
 *
 * @returns float64 [channels]
 */
export function channelVector(t: Tensor, axis: ChannelAxis, name: string): Float64Array | Refusal {
  const values = realsOf(t);
  if (values === undefined) return refuse(`'${name}' is ${t.dtype}`);
  // With an unknown rank only a vector surely does not raise it.
  const rank = axis.rank ?? 1;
  if (t.dims.length > rank)
    return refuse(`'${name}' [${t.dims.join(', ')}] has more axes than the layer's output`);
  const at = t.dims.length - axis.fromEnd;
  const isVector = t.dims.every((d, i) => d === 1 || (i === at && d === axis.channels));
  if (!isVector) return refuse(`'${name}' [${t.dims.join(', ')}] is not one number a channel`);
  return values.length === axis.channels && sizeOf(t.dims) === axis.channels
    ? values
    : new Float64Array(axis.channels).fill(values[0] ?? NaN);
}
