/** Rounding to the nearest words, which are learned from the weights where the plan has none. */
import { required } from '../core/index.js';
import {
  elementOrder,
  learnWords,
  nearestWords,
  reductionMatrix,
  vectorsOfRow,
  type FitMethod,
  type GroupParameters,
  type Grouping,
  type NumberFormat,
  type VectorPart,
} from '../formats/index.js';
import { type SolvedWeight, type WeightQuantization } from '../plan/index.js';

/**
 * Codes of a weight in a vector format.
 *
 * @param given scales that the plan has with the format's words
 */
export function roundVectors(
  { initializer, reduction }: WeightQuantization,
  { levels, vector }: NumberFormat & { readonly vector: VectorPart },
  values: Float32Array,
  dims: readonly number[],
  grouping: Grouping,
  method: FitMethod,
  given: GroupParameters | undefined,
): SolvedWeight {
  const shape = reductionMatrix(dims, required(reduction, `the reduction of ${initializer}`));
  const order = elementOrder(shape);
  const matrix = {
    values: Float32Array.from(order, (i) => values[i] as number),
    cols: shape.cols,
    cellOf: (i: number) => grouping.of(order[i] as number),
    cells: grouping.count,
  };
  const words =
    levels === undefined || given === undefined
      ? learnWords(matrix, vector, method)
      : { table: Float64Array.from(levels), scale: Float64Array.from(given.scale) };
  const places = nearestWords(matrix, vector, words);
  const codes = new Int32Array(values.length);
  codesOfPlaces(places, shape.cols, vector.size).forEach((code, at) => {
    codes[order[at] as number] = code;
  });
  return {
    initializer,
    levels: Float32Array.from(words.table),
    codes,
    scale: Float32Array.from(words.scale),
    zeroPoint: new Int32Array(grouping.count),
  };
}

/** Codes of single weights, `word · size + place`, row by row, from the words of vectors. */
export function codesOfPlaces(places: Int32Array, cols: number, size: number): Int32Array {
  const perRow = vectorsOfRow(cols, size);
  const rows = cols === 0 ? 0 : places.length / perRow;
  return Int32Array.from({ length: rows * cols }, (_, i) => {
    const [row, column] = [Math.floor(i / cols), i % cols];
    const word = places[row * perRow + Math.floor(column / size)] as number;
    return word * size + (column % size);
  });
}
