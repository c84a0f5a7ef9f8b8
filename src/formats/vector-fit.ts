/** Words and scales for given weights, and the nearest words for given ones. */
import { float32Scale } from './binary-exponent.js';
import { type FitMethod } from './fit.js';
import { type VectorPart } from './format.js';
import { WORD_LIMIT, vectorsOfRow } from './vector.js';
import { assign, lloyd, vectorKMeans, type WeightedVectors } from './vector-k-means.js';

/** A matrix whose rows are cut into vectors. */
export interface VectorMatrix {
  /** [rows × cols]. */
  readonly values: ArrayLike<number>;
  readonly cols: number;
  /** Scale of the element at a row-major index, below `cells`. */
  readonly cellOf: (index: number) => number;
  readonly cells: number;
  /** What the squared error of each element counts; 1 when absent. */
  readonly weights?: ArrayLike<number>;
}

/** Words with scales that suit them. */
export interface Words {
  /** Entries, integers of at most 127, [words × size]. */
  readonly table: Float64Array;
  /** One a cell, float32 numbers. */
  readonly scale: Float64Array;
}

/** Vectors that words are learned from. */
const SAMPLED = 2 ** 15;

/** Refits of the scales, and rounds of k-means after each. */
const REFITS = 6;
const ROUNDS_EACH = 4;

/** Refits end when they gain less than this share of the error. */
const WORTH_A_REFIT = 1e-3;

/**
 * Words and scales of least squared error: k-means of the vectors over their scales, an error there counting by the square
 * of the scale, in turns with the scales.
 *
 * @param method `range` keeps the scales by the largest magnitudes of the cells, `mse` fits them, too
 */
export function learnWords(matrix: VectorMatrix, { size, words }: VectorPart, method: FitMethod): Words {
  const part = thinned(matrix, size);
  let scale = startingScales(matrix, method);
  let vectors = scaledVectors(matrix, part, size, scale);
  let found = vectorKMeans(vectors, words);
  for (let i = 0; i < REFITS && method === 'mse' && matrix.cells > 1; i++) {
    const refitted = fitScales(matrix, part, size, found, scale);
    const next = scaledVectors(matrix, part, size, refitted);
    const better = lloyd(next, found.centres, ROUNDS_EACH);
    const gain = 1 - better.error / found.error;
    if (gain > 0) [scale, vectors, found] = [refitted, next, better];
    if (!(gain > WORTH_A_REFIT)) break;
  }
  const unit = found.centres.reduce((most, x) => Math.max(most, Math.abs(x)), 0) / WORD_LIMIT || 1;
  const table = new Float64Array(words * size);
  found.centres.forEach((x, i) => {
    // No negative zeros.
    table[i] = Math.round(x / unit) + 0;
  });
  return { table, scale: scale.map((s) => float32Scale(s * unit)) };
}

/** Place of the nearest word of every vector, [rows × vectors of a row]. */
export function nearestWords(
  matrix: VectorMatrix,
  { size }: Pick<VectorPart, 'size'>,
  { table, scale }: Words,
): Int32Array {
  const every = Int32Array.from({ length: countVectors(matrix, size) }, (_, i) => i);
  return assign(scaledVectors(matrix, every, size, scale), table).nearest;
}

function countVectors({ values, cols }: VectorMatrix, size: number): number {
  return cols === 0 ? 0 : (values.length / cols) * vectorsOfRow(cols, size);
}

/** Places of one vector of every n, not always the same one, which could be at the same column of every row. */
function thinned(matrix: VectorMatrix, size: number): Int32Array {
  const count = countVectors(matrix, size);
  const every = Math.max(Math.ceil(count / SAMPLED), 1);
  return Int32Array.from({ length: Math.floor(count / every) }, (_, i) => i * every + ((i * 7919) % every));
}

/** A cell of zeros counts nothing and stays as good as zero, whatever its words. */
const SCALE_OF_ZEROS = 2 ** -126;

/** Largest magnitude of every cell, or root mean square, which makes cells of unlike spread most alike. */
function startingScales({ values, cellOf, cells }: VectorMatrix, method: FitMethod): Float64Array {
  const sum = new Float64Array(cells);
  const count = new Float64Array(cells);
  for (let i = 0; i < values.length; i++) {
    const cell = cellOf(i);
    const value = values[i] as number;
    if (!Number.isFinite(value)) continue;
    count[cell] = (count[cell] as number) + 1;
    sum[cell] =
      method === 'range'
        ? Math.max(sum[cell] as number, Math.abs(value))
        : (sum[cell] as number) + value * value;
  }
  return sum.map(
    (s, cell) => (method === 'range' ? s : Math.sqrt(s / (count[cell] as number))) || SCALE_OF_ZEROS,
  );
}

/** Some vectors over their scales; what is beyond the end of a row counts nothing. */
function scaledVectors(
  { values, cols, cellOf, weights }: VectorMatrix,
  part: Int32Array,
  size: number,
  scale: Float64Array,
): WeightedVectors {
  const scaled = new Float64Array(part.length * size);
  const counts = new Float64Array(part.length * size);
  const perRow = vectorsOfRow(cols, size);
  part.forEach((vector, v) => {
    const column = (vector % perRow) * size;
    const base = Math.floor(vector / perRow) * cols + column;
    for (let j = 0; j < Math.min(size, cols - column); j++) {
      const s = scale[cellOf(base + j)] as number;
      const value = (values[base + j] as number) / s;
      scaled[v * size + j] = Number.isFinite(value) ? value : 0;
      counts[v * size + j] = s * s * (weights?.[base + j] ?? 1);
    }
  });
  return { size, values: scaled, weights: counts };
}

/** Scales of least squared error for given centres, Σ w·x·c / Σ w·c² a cell; those that would not be positive stay. */
function fitScales(
  matrix: VectorMatrix,
  part: Int32Array,
  size: number,
  { centres, nearest }: { readonly centres: Float64Array; readonly nearest: Int32Array },
  before: Float64Array,
): Float64Array {
  const { values, cols, cellOf, cells, weights } = matrix;
  const product = new Float64Array(cells);
  const energy = new Float64Array(cells);
  const perRow = vectorsOfRow(cols, size);
  part.forEach((vector, v) => {
    const column = (vector % perRow) * size;
    const base = Math.floor(vector / perRow) * cols + column;
    for (let j = 0; j < Math.min(size, cols - column); j++) {
      const cell = cellOf(base + j);
      const entry = centres[(nearest[v] as number) * size + j] as number;
      const weight = weights?.[base + j] ?? 1;
      product[cell] = (product[cell] as number) + weight * entry * (values[base + j] as number);
      energy[cell] = (energy[cell] as number) + weight * entry * entry;
    }
  });
  return before.map((s, cell) => {
    const fitted = (product[cell] as number) / (energy[cell] as number);
    return fitted > 0 && Number.isFinite(fitted) ? fitted : s;
  });
}
