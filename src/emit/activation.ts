/** Quantize and Dequantize nodes behind an activation. */
import { FxqError } from '../core/index.js';
import { integerStorage, parseFormat, type NumberFormat } from '../formats/index.js';
import { node, type Node } from '../onnx/index.js';
import { type ActivationQuantization } from '../plan/index.js';
import { dtypeCode, integerRange, tensor, type DType } from '../tensor/index.js';
import { type Fragment, type FreshName } from './fragment.js';

/** The codes of a value and the zero point they count from. */
export interface Codes {
  readonly code: string;
  readonly zeroPoint: string;
}

/**
 * Element type of an activation's codes. Nothing is saved by packing what is not stored, and runtimes compute on bytes at
 * the narrowest: onnxruntime 1.30 has no kernels for activations of 4 bits and cannot load a 4-bit QuantizeLinear behind a
 * Relu or Clip.
 */
function activationStorage({ integer, bits, signed, dtype, onnx }: NumberFormat): DType {
  return integer && onnx === 'qdq' && bits < 8 ? integerStorage(8, signed).dtype : dtype;
}

/**
 * The pair for one variant of a value.
 *
 * @param raw    value to quantize; undefined when a node already writes the codes, under `codes.code`
 * @param result name of the dequantized value
 * @param codes  names for codes and zero point
 */
export function quantizePair(
  fresh: FreshName,
  id: string,
  quantization: ActivationQuantization,
  raw: string | undefined,
  result: string,
  codes: Codes,
): Fragment {
  const format = parseFormat(quantization.format);
  const name = (kind: string): { name: string } => ({ name: fresh(`${id}_${kind}`) });
  switch (format.onnx) {
    case 'qdq': {
      const scale = fresh(`${id}_scale`);
      const parameters = [scale, codes.zeroPoint];
      const back = node(
        'DequantizeLinear',
        [codes.code, ...parameters],
        [result],
        {},
        name('DequantizeLinear'),
      );
      const there =
        raw === undefined
          ? EMPTY
          : quantizeNode(fresh, id, quantization, format, raw, [codes.code, ...parameters]);
      return {
        nodes: [...there.nodes, back],
        initializers: [
          [scale, tensor('float32', [], [quantization.scale[0] ?? 1])],
          [codes.zeroPoint, tensor(activationStorage(format), [], [quantization.zeroPoint[0] ?? 0])],
          ...there.initializers,
        ],
      };
    }
    case 'cast': {
      const there =
        raw === undefined
          ? []
          : [node('Cast', [raw], [codes.code], { to: dtypeCode(format.dtype) }, name('Cast'))];
      const back = node('Cast', [codes.code], [result], { to: dtypeCode('float32') }, name('CastBack'));
      return { nodes: [...there, back], initializers: [] };
    }
    case 'dequantize':
    case 'table':
    case 'vectors':
      throw new FxqError(
        'E_FORMAT',
        `activation '${id}' cannot have format ${format.name}: ONNX has no operator that quantizes to it`,
        'Choose an integer, fixed-point or float8 format for activations.',
      );
  }
}

const EMPTY: Fragment = { nodes: [], initializers: [] };

/** QuantizeLinear, behind what its grid or the runtime asks for. */
function quantizeNode(
  fresh: FreshName,
  id: string,
  quantization: ActivationQuantization,
  format: NumberFormat,
  raw: string,
  [code, scale, zeroPoint]: readonly string[],
): Fragment {
  const { value, nodes, initializers } = guarded(fresh, id, quantization, format, raw);
  const quantize = node(
    'QuantizeLinear',
    [value, scale ?? '', zeroPoint ?? ''],
    [code ?? ''],
    {},
    { name: fresh(`${id}_QuantizeLinear`) },
  );
  return { nodes: [...nodes, quantize], initializers };
}

/**
 * The value that QuantizeLinear may read: behind a Clip where the grid is narrower than its element type, and behind a Max
 * of one operand where that type is an 8-bit float, because onnxruntime (1.30) fuses a Relu or Clip in front of any
 * QuantizeLinear and cannot load the model where the type is no integer.
 */
function guarded(
  fresh: FreshName,
  id: string,
  quantization: ActivationQuantization,
  format: NumberFormat,
  raw: string,
): Fragment & { readonly value: string } {
  if (!format.integer) {
    const apart = fresh(`${id}_apart`);
    return { value: apart, nodes: [keptApart(raw, apart, fresh(`${id}_Max`))], initializers: [] };
  }
  const limits = gridLimits(format, quantization);
  if (limits === undefined) return { ...EMPTY, value: raw };
  const [clipped, low, high] = [fresh(`${id}_clipped`), fresh(`${id}_low`), fresh(`${id}_high`)];
  return {
    value: clipped,
    nodes: [node('Clip', [raw, low, high], [clipped], {}, { name: fresh(`${id}_Clip`) })],
    initializers: [
      [low, tensor('float32', [], [limits[0]])],
      [high, tensor('float32', [], [limits[1]])],
    ],
  };
}

/** A Max of one operand: nothing is computed, and no optimizer of onnxruntime sees through it. */
export function keptApart(value: string, result: string, name: string): Node {
  return node('Max', [value], [result], {}, { name });
}

/**
 * Limits of a grid that is narrower than its element type, where QuantizeLinear alone would use codes outside it.
 * A grid that only leaves out the lowest code needs none: one code more on one side is saturation all the same.
 */
function gridLimits(
  format: NumberFormat,
  { scale, zeroPoint }: ActivationQuantization,
): [number, number] | undefined {
  const type = integerRange(activationStorage(format));
  if (format.high === type.high && format.low - type.low <= 1) return undefined;
  const limit = (code: number): number => Math.fround((code - (zeroPoint[0] ?? 0)) * (scale[0] ?? 1));
  return [limit(format.low), limit(format.high)];
}
