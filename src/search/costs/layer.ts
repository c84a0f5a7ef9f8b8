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

/** Scales of a layer's weight. */
export function scaleCount(
  { channels, elements }: CostedLayer,
  granularity: LayerFormats['granularity'],
): number {
  if (granularity === 'tensor') return 1;
  return granularity === 'channel' ? channels : Math.ceil(elements / granularity.block);
}

/**
 * Bytes of the weight as written: float32, or codes in their ONNX type with a scale and a zero point each.
 *
 * @param packed the sparse weight is stored packed, as in the sidecar, instead of with its zeros
 */
export function weightBytes(layer: CostedLayer, formats: LayerFormats, packed: boolean): number {
  const { elements, depth } = layer;
  if (formats.weights === 'float') return 4 * elements;
  const format = parseFormat(formats.weights);
  const groups = scaleCount(layer, formats.granularity);
  const bytes = tensorBytes(format, { count: elements, groups, depth, asymmetric: true });
  if (formats.sparsity === undefined || !packed) return bytes;
  const { values, indices } = packedBytes(elements, parsePattern(formats.sparsity), format.bits);
  return values + indices + tensorBytes(format, { count: 0, groups });
}

/** Bits a sum of `depth` products can need: b_w + b_a + ⌈log2 depth⌉. */
export function accumulatorBits({ depth }: CostedLayer, formats: LayerFormats): number {
  return bitsOf(formats.weights) + bitsOf(formats.activations) + Math.ceil(Math.log2(depth));
}
