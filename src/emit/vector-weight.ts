/** Stored weights of vector formats: one code for several weights, and the graph that puts them in their places. */
import { required } from '../core/index.js';
import {
  elementOrder,
  isInOrder,
  reductionMatrix,
  vectorsOfRow,
  type NumberFormat,
  type ReductionMatrix,
} from '../formats/index.js';
import { node, type AttributeInput, type Node } from '../onnx/index.js';
import { type SolvedWeight, type WeightQuantization } from '../plan/index.js';
import { createArray, dtypeCode, tensor, type Tensor } from '../tensor/index.js';
import { type Fragment, type FreshName } from './fragment.js';
import { broadcastScale } from './weight-scale.js';

/** Rows of the table by Gather, cut to the length of the layer's sum, in the weight's own shape, times the scale. */
export function vectorLookup(
  fresh: FreshName,
  quantization: WeightQuantization,
  solved: SolvedWeight,
  dims: readonly number[],
  format: NumberFormat,
  result: string,
): Fragment {
  const base = quantization.initializer;
  const matrix = reductionMatrix(dims, required(quantization.reduction, `the reduction of ${base}`));
  const { size, words } = required(format.vector, `vectors of ${format.name}`);
  const initializers: [string, Tensor][] = [];
  const nodes: Node[] = [];
  const constant = (part: string, value: Tensor): string => {
    const name = fresh(`${base}_${part}`);
    initializers.push([name, value]);
    return name;
  };
  const apply = (op: string, inputs: string[], attributes: Record<string, AttributeInput> = {}): string => {
    const output = fresh(`${base}_${op.toLowerCase()}`);
    nodes.push(node(op, inputs, [output], attributes, { name: fresh(`${base}_${op}`) }));
    return output;
  };
  const shaped = (value: string, shape: readonly number[]): string =>
    apply('Reshape', [value, constant('shape', int64(shape))]);

  const codes = constant('quantized', wordCodes(format, solved.codes, matrix, size));
  const table = constant('words', tensor('int8', [words, size], Array.from(solved.levels ?? [])));
  const index = apply('Cast', [codes], { to: dtypeCode('int32') });
  const vectors = apply('Gather', [table, index], { axis: 0 });
  const rows = cutRows(apply('Cast', [vectors], { to: dtypeCode('float32') }));
  const level = isInOrder(matrix) ? shaped(rows, dims) : shaped(transposed(rows), dims);
  const scale = broadcastScale(fresh, quantization, solved.scale, dims, format);
  return {
    nodes: [
      ...nodes,
      ...scale.nodes,
      node('Mul', [level, scale.name], [result], {}, { name: fresh(`${base}_Mul`) }),
    ],
    initializers: [...initializers, ...scale.initializers],
  };

  /** Without what the last vector of every row has beyond its end. */
  function cutRows(value: string): string {
    const { rows, cols } = matrix;
    const width = vectorsOfRow(cols, size) * size;
    if (width === cols) return value;
    const wide = shaped(value, [rows, width]);
    const [from, to, axis] = [0, cols, 1].map((x, i) =>
      constant(['start', 'end', 'axis'][i] as string, int64([x])),
    ) as [string, string, string];
    return apply('Slice', [wide, from, to, axis]);
  }

  function transposed(value: string): string {
    const { split, perm } = matrix;
    const inMatrix = shaped(
      value,
      perm.map((axis) => split[axis] as number),
    );
    return apply('Transpose', [inMatrix], { perm: perm.map((_, axis) => perm.indexOf(axis)) });
  }
}

function int64(values: readonly number[]): Tensor {
  return tensor('int64', [values.length], BigInt64Array.from(values, BigInt));
}

/** The word of every vector, [rows × vectors of a row], from the codes of single weights. */
function wordCodes(
  { dtype }: NumberFormat,
  codes: Int32Array,
  matrix: ReductionMatrix,
  size: number,
): Tensor {
  const { rows, cols } = matrix;
  const order = elementOrder(matrix);
  const perRow = vectorsOfRow(cols, size);
  const data = createArray(dtype, rows * perRow);
  const words = data as Uint8Array;
  for (let r = 0, v = 0; r < rows; r++)
    for (let c = 0; c < cols; c += size, v++)
      words[v] = (codes[order[r * cols + c] as number] as number) / size;
  return { dtype, dims: [rows, perRow], data };
}
