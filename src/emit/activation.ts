/** Quantize and Dequantize nodes behind an activation. */
import { FxqError } from '../core/index.js';
import { parseFormat, type NumberFormat } from '../formats/index.js';
import { node } from '../onnx/index.js';
import { type ActivationQuantization } from '../plan/index.js';
import { dtypeCode, integerRange, tensor } from '../tensor/index.js';
import { type Fragment, type FreshName } from './fragment.js';

/**
 * The pair for one variant of a value.
 *
 * @param raw    value to quantize
 * @param result name of the dequantized value
 */
export function quantizePair(
  fresh: FreshName,
  id: string,
  quantization: ActivationQuantization,
  raw: string,
  result: string,
): Fragment {
  const format = parseFormat(quantization.format);
  const code = fresh(`${id}_quantized`);
  const name = (kind: string): { name: string } => ({ name: fresh(`${id}_${kind}`) });
  switch (format.onnx) {
    case 'qdq': {
      const scale = fresh(`${id}_scale`);
      const zeroPoint = fresh(`${id}_zero_point`);
      const limits = gridLimits(format, quantization);
      const clipped = limits === undefined ? raw : fresh(`${id}_clipped`);
      const [low, high] = [fresh(`${id}_low`), fresh(`${id}_high`)];
      const pair = [
        node('QuantizeLinear', [clipped, scale, zeroPoint], [code], {}, name('QuantizeLinear')),
        node('DequantizeLinear', [code, scale, zeroPoint], [result], {}, name('DequantizeLinear')),
      ];
      const parameters: Fragment['initializers'] = [
        [scale, tensor('float32', [], [quantization.scale[0] ?? 1])],
        [zeroPoint, tensor(format.dtype, [], [quantization.zeroPoint[0] ?? 0])],
      ];
      if (limits === undefined) return { nodes: pair, initializers: parameters };
      return {
        nodes: [node('Clip', [raw, low, high], [clipped], {}, name('Clip')), ...pair],
        initializers: [
          ...parameters,
          [low, tensor('float32', [], [limits[0]])],
          [high, tensor('float32', [], [limits[1]])],
        ],
      };
    }
    case 'cast':
      return {
        nodes: [
          node('Cast', [raw], [code], { to: dtypeCode(format.dtype) }, name('Cast')),
          node('Cast', [code], [result], { to: dtypeCode('float32') }, name('CastBack')),
        ],
        initializers: [],
      };
    case 'dequantize':
    case 'table':
      throw new FxqError(
        'E_FORMAT',
        `activation '${id}' cannot have format ${format.name}: ONNX has no operator that quantizes to it`,
        'Choose an integer, fixed-point or float8 format for activations.',
      );
  }
}

/**
 * Limits of a grid that is narrower than its element type, where QuantizeLinear alone would use codes outside it.
 * A grid that only leaves out the lowest code needs none: one code more on one side is saturation all the same.
 */
function gridLimits(
  format: NumberFormat,
  { scale, zeroPoint }: ActivationQuantization,
): [number, number] | undefined {
  if (!format.integer) return undefined;
  const type = integerRange(format.dtype);
  if (format.high === type.high && format.low - type.low <= 1) return undefined;
  const limit = (code: number): number => Math.fround((code - (zeroPoint[0] ?? 0)) * (scale[0] ?? 1));
  return [limit(format.low), limit(format.high)];
}
