/** Stored scales of a weight, and the float32 value that its dequantization reads. */
import { FxqError } from '../core/index.js';
import { parseFormat, type NumberFormat } from '../formats/index.js';
import { node } from '../onnx/index.js';
import { type Granularity, type WeightQuantization } from '../plan/index.js';
import { dtypeCode, tensor } from '../tensor/index.js';
import { type Fragment, type FreshName } from './fragment.js';

/** A fragment that ends in a value. */
export interface ScaleFragment extends Fragment {
  readonly name: string;
}

/**
 * The scales as the format stores them: float32; one E8M0 byte each; or one E4M3 byte each and a float32 for the tensor.
 *
 * @param shape shape of the scales
 */
export function storedScale(
  fresh: FreshName,
  base: string,
  format: NumberFormat,
  scale: Float32Array,
  shape: readonly number[],
): ScaleFragment {
  if (format.scale === 'e8m0') return exponentBytes(fresh, base, scale, shape);
  const steps = format.scale === 'e4m3' ? asE4m3(scale) : undefined;
  if (steps !== undefined) return scaledBytes(fresh, base, steps, shape);
  const name = fresh(`${base}_scale`);
  return { name, nodes: [], initializers: [[name, tensor('float32', shape, scale)]] };
}

/** Scales in a shape that broadcasts over the weight; those of blocks are repeated along their axis. */
export function broadcastScale(
  fresh: FreshName,
  { initializer: base, granularity }: WeightQuantization,
  scale: Float32Array,
  dims: readonly number[],
  format: NumberFormat,
): ScaleFragment {
  if (granularity.kind !== 'block')
    return storedScale(fresh, base, format, scale, broadcastShape(granularity, dims));
  const stored = storedScale(fresh, base, format, scale, parameterShape(granularity, dims));
  const { axis, size } = granularity;
  const block = Int32Array.from({ length: dims[axis] ?? 1 }, (_, i) => Math.floor(i / size));
  const [index, name] = [fresh(`${base}_block`), fresh(`${base}_scale_of_each`)];
  return {
    name,
    nodes: [
      ...stored.nodes,
      node('Gather', [stored.name, index], [name], { axis }, { name: fresh(`${base}_scale_Gather`) }),
    ],
    initializers: [...stored.initializers, [index, tensor('int32', [block.length], block)]],
  };
}

/** Shape of scale and zero point in QuantizeLinear's convention. */
export function parameterShape(granularity: Granularity, dims: readonly number[]): number[] {
  switch (granularity.kind) {
    case 'tensor':
      return [];
    case 'channel':
      return [dims[granularity.axis] ?? 1];
    case 'block':
      return dims.map((d, axis) => (axis === granularity.axis ? Math.ceil(d / granularity.size) : d));
  }
}

/** Shape that makes channel scales broadcast over the weight. */
function broadcastShape(granularity: Granularity, dims: readonly number[]): number[] {
  return granularity.kind === 'channel' ? dims.map((d, axis) => (axis === granularity.axis ? d : 1)) : [];
}

const E8M0_BIAS = 127;

function exponentBytes(
  fresh: FreshName,
  base: string,
  scale: Float32Array,
  shape: readonly number[],
): ScaleFragment {
  const bytes = Uint8Array.from(scale, (s) => {
    const exponent = Math.log2(s);
    if (Number.isInteger(exponent)) return exponent + E8M0_BIAS;
    throw new FxqError('E_INTERNAL', `internal: scale ${s} of '${base}' is no power of two`);
  });
  const [stored, name] = [fresh(`${base}_scale_exponent`), fresh(`${base}_scale`)];
  return {
    name,
    nodes: [
      node('Cast', [stored], [name], { to: dtypeCode('float32') }, { name: fresh(`${base}_scale_Cast`) }),
    ],
    initializers: [[stored, tensor('float8e8m0', shape, bytes)]],
  };
}

interface E4m3Steps {
  readonly codes: Uint8Array;
  readonly unit: number;
}

function scaledBytes(
  fresh: FreshName,
  base: string,
  { codes, unit }: E4m3Steps,
  shape: readonly number[],
): ScaleFragment {
  const [stored, one, name] = ['scale_steps', 'scale_unit', 'scale'].map((part) =>
    fresh(`${base}_${part}`),
  ) as [string, string, string];
  return {
    name,
    nodes: [
      node('DequantizeLinear', [stored, one], [name], {}, { name: fresh(`${base}_scale_DequantizeLinear`) }),
    ],
    initializers: [
      [stored, tensor('float8e4m3fn', shape, codes)],
      [one, tensor('float32', [], [unit])],
    ],
  };
}

const E4M3 = parseFormat('e4m3');

/** Codes of the positive finite numbers of E4M3. */
const POSITIVE = Array.from({ length: 126 }, (_, i) => i + 1);

/** E4M3 numbers times one float32 that are exactly these scales, or undefined when there are none. */
function asE4m3(scale: Float32Array): E4m3Steps | undefined {
  const largest = scale.reduce((a, b) => Math.max(a, b), 0);
  for (const top of POSITIVE.toReversed()) {
    const guess = Math.fround(largest / E4M3.decode(top));
    for (const unit of [guess, nextFloat(guess, 1), nextFloat(guess, -1)]) {
      const codes = Uint8Array.from(scale, (s) => E4M3.encode(s / unit));
      if (codes.every((code, i) => Math.fround(E4M3.decode(code) * unit) === scale[i]))
        return { codes, unit };
    }
  }
  return undefined;
}

/** The float32 number next to a positive one. */
function nextFloat(x: number, step: 1 | -1): number {
  const bits = new Uint32Array(Float32Array.of(x).buffer);
  bits[0] = (bits[0] ?? 0) + step;
  return new Float32Array(bits.buffer)[0] ?? x;
}
