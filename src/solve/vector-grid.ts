/**
 * Vector formats as grids: a code is an entry of a word, an integer that counts parts of the scale, so that whatever reads
 * values, refits scales or measures errors needs no words; only what chooses codes does.
 */
import { required } from '../core/index.js';
import {
  WORD_LIMIT,
  learnWords,
  nearestWords,
  vectorsOfRow,
  type VectorMatrix,
  type VectorPart,
} from '../formats/index.js';
import {
  cellGrouping,
  groupOf,
  type LayerProblem,
  type QuantizedMatrix,
  type ScaleSharing,
  type VectorWords,
  type WeightGrid,
} from './problem.js';
import { type Quadratic } from './quadratic.js';
import { codesOfPlaces } from './round-vectors.js';

/** The grid whose words have the least squared error for given weights. */
export function vectorGrid(part: VectorPart, weight: Float32Array, sharing: ScaleSharing): WeightGrid {
  return gridOfWords(learned(part, matrixOf(weight, sharing)));
}

function gridOfWords(words: VectorWords): WeightGrid {
  return { low: -WORD_LIMIT, high: WORD_LIMIT, symmetric: true, words };
}

function matrixOf(weight: Float32Array, sharing: ScaleSharing): VectorMatrix {
  const { of, count } = cellGrouping(sharing);
  return { values: weight, cols: sharing.block.length, cellOf: of, cells: count };
}

function learned(part: VectorPart, matrix: VectorMatrix): VectorWords {
  const { table, scale } = learnWords(matrix, part, 'mse');
  return { size: part.size, table: Array.from(table), scale: Array.from(scale) };
}

/** Words of least error where that of each weight counts by the energy of its input, Σ H_cc (ŵ − w)², and its row's importance. */
export function weightedWords(
  { grid, weight, cols, sharing, importance, ...shape }: LayerProblem,
  { gram }: Quadratic,
): VectorWords {
  const { size, table } = required(grid.words, 'words of a grid');
  const weights = Float64Array.from(weight, (_, i) => {
    const [row, column] = [Math.floor(i / cols), i % cols];
    const h = gram[groupOf(shape, row)] as Float64Array;
    return (h[column * (cols + 1)] as number) * (importance?.[row] ?? 1);
  });
  return learned({ size, words: table.length / size }, { ...matrixOf(weight, sharing), weights });
}

/** The problem with other words; their scales stay what they were learned with. */
export function withTable(problem: LayerProblem, table: readonly number[]): LayerProblem {
  const words = required(problem.grid.words, 'words of a grid');
  return { ...problem, grid: { ...problem.grid, words: { ...words, table } } };
}

/** Every vector's nearest word, at the scales that the words were learned with. */
export function nearestOnWords(
  { weight, cols, sharing }: LayerProblem,
  { size, table, scale }: VectorWords,
): QuantizedMatrix {
  const words = { table: Float64Array.from(table), scale: Float64Array.from(scale) };
  const places = nearestWords(matrixOf(weight, sharing), { size }, words);
  return {
    codes: codesOfPlaces(places, cols, size).map((at) => table[at] as number),
    scale: words.scale,
    zeroPoint: new Int32Array(scale.length),
  };
}

/** Where every code is in a table, `word · size + place`, row by row; of equal words the first. */
export function placesInTable(
  codes: Int32Array,
  cols: number,
  table: readonly number[],
  size: number,
): Int32Array {
  const perRow = vectorsOfRow(cols, size);
  const rest = cols - (perRow - 1) * size;
  const words = (length: number): Map<string, number> => {
    const known = new Map<string, number>();
    for (let word = table.length / size - 1; word >= 0; word--)
      known.set(table.slice(word * size, word * size + length).join(), word);
    return known;
  };
  const [whole, last] = [words(size), words(rest)];
  const places = new Int32Array((codes.length / cols) * perRow);
  for (let v = 0; v < places.length; v++) {
    const column = (v % perRow) * size;
    const from = Math.floor(v / perRow) * cols + column;
    const word = codes.subarray(from, from + Math.min(size, cols - column)).join();
    places[v] = required((column + size > cols ? last : whole).get(word), `word ${word} of a table`);
  }
  return codesOfPlaces(places, cols, size);
}

/** Codes as places in the table, the table, and the scales. */
export function storedWords(
  words: VectorWords,
  { codes, scale, levels = words.table }: QuantizedMatrix,
  cols: number,
): { codes: Int32Array; scale: Float64Array; levels: readonly number[] } {
  return { codes: placesInTable(codes, cols, levels, words.size), scale, levels };
}
