/** Stored weights: codes as initializer, and what turns them back into values. */
import { type NumberFormat } from '../formats/index.js';
import { node, type AttributeInput } from '../onnx/index.js';
import { solvedFormat, type Granularity, type SolvedWeight, type WeightQuantization } from '../plan/index.js';
import { createArray, dtypeCode, tensor, type Tensor } from '../tensor/index.js';
import { type Fragment, type FreshName } from './fragment.js';
import { vectorLookup } from './vector-weight.js';
import { broadcastScale, parameterShape, storedScale } from './weight-scale.js';

/**
 * Codes and dequantization of one weight.
 *
 * @param dims   shape of the initializer
 * @param result name of the value that layers read
 * @param apart  multiplies by the scale in a node of its own, which keeps the runtime from fusing the layer
 */
export function dequantizedWeight(
  fresh: FreshName,
  quantization: WeightQuantization,
  solved: SolvedWeight,
  dims: readonly number[],
  result: string,
  apart = false,
): Fragment {
  const format = solvedFormat(quantization, solved);
  if (format.onnx === 'vectors') return vectorLookup(fresh, quantization, solved, dims, format, result);
  const base = quantization.initializer;
  const codes = fresh(`${base}_quantized`);
  const stored: [string, Tensor] = [codes, codeTensor(format, solved.codes, dims)];
  switch (format.onnx) {
    case 'qdq':
    case 'dequantize': {
      if (apart) return scaledApart(fresh, quantization, solved, dims, format, stored, result);
      const shape = parameterShape(quantization.granularity, dims);
      const scale = storedScale(fresh, base, format, solved.scale, shape);
      const zeroPoint = fresh(`${base}_zero_point`);
      const attributes = granularityAttributes(quantization.granularity);
      const inputs = [codes, scale.name, zeroPoint];
      return {
        nodes: [
          ...scale.nodes,
          node('DequantizeLinear', inputs, [result], attributes, { name: fresh(`${base}_DequantizeLinear`) }),
        ],
        initializers: [
          stored,
          ...scale.initializers,
          [zeroPoint, tensor(format.dtype, shape, Array.from(solved.zeroPoint))],
        ],
      };
    }
    case 'cast':
      return {
        nodes: [
          node('Cast', [codes], [result], { to: dtypeCode('float32') }, { name: fresh(`${base}_Cast`) }),
        ],
        initializers: [stored],
      };
    case 'table':
      return tableLookup(fresh, quantization, solved, dims, format, stored, result);
  }
}

/** Codes less their zero points, times the scale. */
function scaledApart(
  fresh: FreshName,
  quantization: WeightQuantization,
  solved: SolvedWeight,
  dims: readonly number[],
  format: NumberFormat,
  stored: readonly [string, Tensor],
  result: string,
): Fragment {
  const base = quantization.initializer;
  const shape = parameterShape(quantization.granularity, dims);
  const [one, zeroPoint, levels] = ['one', 'zero_point', 'level'].map((part) => fresh(`${base}_${part}`)) as [
    string,
    string,
    string,
  ];
  const scale = broadcastScale(fresh, quantization, solved.scale, dims, format);
  const attributes = granularityAttributes(quantization.granularity);
  const name = (part: string): { name: string } => ({ name: fresh(`${base}_${part}`) });
  return {
    nodes: [
      node('DequantizeLinear', [stored[0], one, zeroPoint], [levels], attributes, name('DequantizeLinear')),
      ...scale.nodes,
      node('Mul', [levels, scale.name], [result], {}, name('Mul')),
    ],
    initializers: [
      stored,
      [
        one,
        tensor(
          'float32',
          shape,
          solved.scale.map(() => 1),
        ),
      ],
      [zeroPoint, tensor(format.dtype, shape, Array.from(solved.zeroPoint))],
      ...scale.initializers,
    ],
  };
}

/** Levels by Gather, times the scale: for grids that QuantizeLinear does not know. */
function tableLookup(
  fresh: FreshName,
  quantization: WeightQuantization,
  solved: SolvedWeight,
  dims: readonly number[],
  format: NumberFormat,
  stored: readonly [string, Tensor],
  result: string,
): Fragment {
  const base = quantization.initializer;
  const [table, index, levels] = ['levels', 'index', 'level'].map((part) => fresh(`${base}_${part}`)) as [
    string,
    string,
    string,
  ];
  const values = Array.from({ length: format.high - format.low + 1 }, (_, i) =>
    format.decode(format.low + i),
  );
  const name = (part: string): { name: string } => ({ name: fresh(`${base}_${part}`) });
  const scale = broadcastScale(fresh, quantization, solved.scale, dims, format);
  return {
    nodes: [
      node('Cast', [stored[0]], [index], { to: dtypeCode('int32') }, name('Cast')),
      node('Gather', [table, index], [levels], { axis: 0 }, name('Gather')),
      ...scale.nodes,
      node('Mul', [levels, scale.name], [result], {}, name('Mul')),
    ],
    initializers: [stored, [table, tensor('float32', [values.length], values)], ...scale.initializers],
  };
}

/** Codes in their storage type; table codes count from the lowest level. */
function codeTensor(format: NumberFormat, codes: Int32Array, dims: readonly number[]): Tensor {
  const data = createArray(format.dtype, codes.length);
  const offset = format.onnx === 'table' ? -format.low : 0;
  const narrow = data as Int32Array;
  for (let i = 0; i < codes.length; i++) narrow[i] = (codes[i] ?? 0) + offset;
  return { dtype: format.dtype, dims, data };
}

function granularityAttributes(granularity: Granularity): Record<string, AttributeInput> {
  switch (granularity.kind) {
    case 'tensor':
      return {};
    case 'channel':
      return { axis: granularity.axis };
    case 'block':
      return { axis: granularity.axis, block_size: granularity.size };
  }
}
