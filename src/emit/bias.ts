/** Biases as int32 at the scale of the accumulator, `s_x · s_w`, so that integer kernels add them as they are. */
import { FxqError } from '../core/index.js';
import { node } from '../onnx/index.js';
import { tensor } from '../tensor/index.js';
import { type Fragment, type FreshName } from './fragment.js';

const INT32_MAX = 2 ** 31 - 1;

/** Integer biases and the scale of each. */
export interface BiasCodes {
  readonly codes: Int32Array;
  readonly scales: Float32Array;
}

/**
 * Biases in units of the accumulator.
 *
 * @param bias        float bias, one an output channel
 * @param inputScale  scale of the layer's activation
 * @param weightScale one, or one an output channel
 * @throws FxqError E_UNSUPPORTED when a code would not fit; ranges are assigned so that this does not happen
 */
export function biasCodes(
  layer: string,
  bias: Float32Array,
  inputScale: number,
  weightScale: ArrayLike<number>,
): BiasCodes {
  const scales = Float32Array.from(
    bias,
    (_, c) => inputScale * (weightScale[weightScale.length === 1 ? 0 : c] ?? 1),
  );
  const codes = Int32Array.from(bias, (value, c) => {
    const code = Math.round(value / (scales[c] ?? 1));
    if (Math.abs(code) <= INT32_MAX) return code;
    throw new FxqError(
      'E_UNSUPPORTED',
      `bias of '${layer}' overflows int32 in channel ${c}: ${value} at scale ${scales[c]}`,
      'Keep this layer float with --exclude, or raise its weight scale.',
    );
  });
  return { codes, scales };
}

/** The int32 bias of one layer and its dequantization; parameters as for {@link biasCodes}. */
export function integerBias(
  fresh: FreshName,
  layer: string,
  bias: Float32Array,
  inputScale: number,
  weightScale: ArrayLike<number>,
): Fragment & { readonly result: string } {
  const { codes, scales } = biasCodes(layer, bias, inputScale, weightScale);
  const [code, scale, zeroPoint, result] = ['quantized', 'scale', 'zero_point', 'dequantized'].map((part) =>
    fresh(`${layer}_bias_${part}`),
  ) as [string, string, string, string];
  return {
    result,
    nodes: [
      node(
        'DequantizeLinear',
        [code, scale, zeroPoint],
        [result],
        { axis: 0 },
        { name: fresh(`${layer}_bias_DequantizeLinear`) },
      ),
    ],
    initializers: [
      [code, tensor('int32', [bias.length], codes)],
      [scale, tensor('float32', [bias.length], scales)],
      [zeroPoint, tensor('int32', [bias.length])],
    ],
  };
}
