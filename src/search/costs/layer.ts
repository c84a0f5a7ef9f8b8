/** What a layer's cost depends on besides its formats. */
import { parseFormat, tensorBytes } from '../../formats/index.js';
import { packedBytes, parsePattern } from '../../solve/index.js';

/** One weighted layer, as cost models see it. */
export interface CostedLayer {
  readonly node: string;
  readonly opType: string;
  /** Multiply-accumulate operations for one sample. */
  readonly macs: number;
  /** Weight elements. */
  readonly elements: number;
  /** Output channels, each with a scale where weights are quantized per channel. */
  readonly channels: number;
  /** Terms of each sum: the reduction depth. */
  readonly depth: number;
  /** Length of the weight's axis that blocks run along: input channels of a group. */
  readonly inputs: number;
}

/** How a layer is quantized, as cost models see it. */
export interface LayerFormats {
  /** Number format, or `float`. */
  readonly weights: string;
  readonly activations: string;
  readonly granularity: 'tensor' | 'channel' | { readonly block: number };
  /** `2:4` and the like; absent when dense. */
  readonly sparsity?: string;
}

/** Bits of one element: 32 for `float`. */
export function bitsOf(format: string): number {
  return format === 'float' ? 32 : parseFormat(format).bits;
}

/** Bytes, at most, of the shapes that turn looked-up vectors into a weight. */
const VECTOR_SHAPES = 88;

/** Scales of a layer's weight; blocks end with the input channels of each output and kernel position. */
function scaleCount(
  { channels, elements, inputs }: CostedLayer,
  block: number | undefined,
  granularity: LayerFormats['granularity'],
): number {
  if (block !== undefined) return (elements / inputs) * Math.ceil(inputs / block);
  return granularity === 'tensor' ? 1 : channels;
}

/**
 * Bytes of the weight as written: float32, or codes in their ONNX type with all that turns them into values.
 *
 * @param packed the sparse weight is stored packed, as in the sidecar, instead of with its zeros
 */
export function weightBytes(layer: CostedLayer, formats: LayerFormats, packed: boolean): number {
  const { elements, depth, inputs } = layer;
  const { weights, granularity, sparsity } = formats;
  if (weights === 'float') return 4 * elements;
  const format = parseFormat(weights);
  const block = format.block ?? (typeof granularity === 'object' ? granularity.block : undefined);
  const groups = scaleCount(layer, block, granularity);
  // DequantizeLinear has zero points; tables and casts have none, but tables look the scales of blocks up.
  const asymmetric = format.onnx === 'qdq' || format.onnx === 'dequantize';
  const lookup =
    format.onnx === 'vectors'
      ? VECTOR_SHAPES
      : format.onnx === 'table' && block !== undefined
        ? 4 * inputs
        : 0;
  const bytes = tensorBytes(format, { count: elements, groups, depth, asymmetric }) + lookup;
  if (sparsity === undefined || !packed) return bytes;
  const { values, indices } = packedBytes(elements, parsePattern(sparsity), format.bits);
  return values + indices + tensorBytes(format, { count: 0, groups });
}

/** Bits a sum of `depth` products can need: b_w + b_a + ⌈log2 depth⌉. */
export function accumulatorBits({ depth }: CostedLayer, formats: LayerFormats): number {
  return bitsOf(formats.weights) + bitsOf(formats.activations) + Math.ceil(Math.log2(depth));
}
