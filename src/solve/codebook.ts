/**
 * Codebooks as grids with gaps: a level is an integer that counts small parts of the scale, so that whatever moves codes
 * from level to level moves these, too. The table of levels is learned like the codes.
 */
import { required } from '../core/index.js';
import { codebookLevels, fitTensor, type NumberFormat } from '../formats/index.js';
import {
  cellGrouping,
  groupOf,
  type LayerProblem,
  type QuantizedMatrix,
  type ScaleSharing,
  type WeightGrid,
} from './problem.js';
import { type Quadratic } from './quadratic.js';

/** Parts of the scale that levels count: enough for the error of their rounding to be that of float32. */
const PARTS = 2 ** 20;

/** Weights that levels are learned from. */
const SAMPLED = 2 ** 16;

export function isCodebook({ family }: NumberFormat): boolean {
  return family === 'codebook';
}

/** The grid with other levels. */
export function withLevels(grid: WeightGrid, levels: readonly number[]): WeightGrid {
  const ascending = [...new Set(levels)].sort((a, b) => a - b);
  return { ...grid, low: ascending[0] ?? 0, high: ascending.at(-1) ?? 0, levels: ascending };
}

/** Levels as they are on a grid. */
function inParts(levels: ArrayLike<number>): number[] {
  return Array.from(levels, (level) => Math.round(level * PARTS));
}

/** The grid of a codebook whose levels have the least squared error for given weights. */
export function codebookGrid(format: NumberFormat, weight: Float32Array, sharing: ScaleSharing): WeightGrid {
  const fitted = fitTensor(format, weight, cellGrouping(sharing), { method: 'mse', symmetric: true });
  const levels = required(fitted.format.levels, 'levels of a codebook');
  return withLevels({ low: 0, high: 0, symmetric: true, entries: 2 ** format.bits }, inParts(levels));
}

/**
 * The grid whose levels have the least error when that of each weight counts by the energy of its input, Σ H_cc (ŵ − w)²
 * (SqueezeLLM weighs so by the diagonal of the Fisher matrix).
 */
export function weightedGrid(
  { grid, weight, cols, sharing, importance, ...shape }: LayerProblem,
  { gram }: Quadratic,
  scale: Float64Array,
): WeightGrid {
  const { of } = cellGrouping(sharing);
  const every = Math.ceil(weight.length / SAMPLED);
  const count = Math.ceil(weight.length / every);
  const values = new Float64Array(count);
  const weights = new Float64Array(count);
  for (let k = 0; k < count; k++) {
    const i = k * every;
    const [row, column] = [Math.floor(i / cols), i % cols];
    const unit = PARTS * (scale[of(i)] as number);
    const h = gram[groupOf(shape, row)] as Float64Array;
    values[k] = (weight[i] as number) / unit;
    weights[k] = unit * unit * (h[column * (cols + 1)] as number) * (importance?.[row] ?? 1);
  }
  return withLevels(grid, inParts(codebookLevels(values, weights, required(grid.entries, 'entries'))));
}

/** Codes as places in the table, the table in units of the scale, and the scales. */
export function storedCodebook(
  { levels: ofGrid, entries = 0 }: WeightGrid,
  { codes, scale, levels = ofGrid ?? [] }: QuantizedMatrix,
): { codes: Int32Array; scale: Float64Array; levels: Float32Array } {
  const table = [...new Set(levels)].sort((a, b) => a - b);
  const place = new Map(table.map((level, j) => [level, j]));
  return {
    codes: codes.map((code) => place.get(code) as number),
    scale: scale.map((s) => s * PARTS),
    levels: Float32Array.from({ length: entries }, (_, j) => (table[j] ?? table.at(-1) ?? 0) / PARTS),
  };
}
