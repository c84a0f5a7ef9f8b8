/**
 * Successive rounding, vector by vector: what GPTVQ (arXiv 2402.15319) does with the inverse of H, by the factor of H
 * itself (see successive.ts). The terms of one vector's columns depend on these and on those decided before.
 */
import { required } from '../core/index.js';
import { type Matrices } from './matrices.js';
import { type LayerProblem, type QuantizedMatrix, type VectorWords } from './problem.js';
import { type Quadratic } from './quadratic.js';
import { pullOn, slopeOffset, type Range } from './successive.js';
import { BLOCK, factorize, type TriangularFactor } from './triangular.js';

/** A factor of H whose order keeps the columns of vectors together. */
export interface VectorFactor extends TriangularFactor {
  /** Places of every vector's columns, in order. */
  readonly vectors: readonly Range[];
}

/** Factors of every group's H. Vectors rounded first, those with most input energy, come last. */
export async function factorizeVectors(
  { gram }: Quadratic,
  cols: number,
  size: number,
  matrices: Matrices,
): Promise<VectorFactor[]> {
  const factors: VectorFactor[] = [];
  for (const h of gram) {
    const starts = startsByEnergy(h, cols, size);
    const columns = starts.flatMap((from) =>
      Array.from({ length: Math.min(size, cols - from) }, (_, i) => from + i),
    );
    let to = 0;
    const vectors = starts.map((start) => {
      const from = to;
      to += Math.min(size, cols - start);
      return { from, to };
    });
    factors.push({ ...(await factorize(h, Int32Array.from(columns), matrices)), vectors });
  }
  return factors;
}

/** First columns of all vectors, by rising mean energy of their inputs; equal ones from last to first. */
function startsByEnergy(h: Float64Array, cols: number, size: number): number[] {
  const starts = Array.from({ length: Math.ceil(cols / size) }, (_, v) => v * size);
  const energy = new Map(
    starts.map((from) => {
      const width = Math.min(size, cols - from);
      let sum = 0;
      for (let c = from; c < from + width; c++) sum += h[c * (cols + 1)] as number;
      return [from, sum / width];
    }),
  );
  return starts.sort((a, b) => (energy.get(a) as number) - (energy.get(b) as number) || b - a);
}

/** Codes on given words at given scales. */
export async function successiveWords(
  problem: LayerProblem,
  quadratic: Quadratic,
  scale: Float64Array,
  factors: readonly VectorFactor[],
  matrices: Matrices,
): Promise<QuantizedMatrix> {
  const { rows, cols, groups, grid } = problem;
  const words = required(grid.words, 'words of a grid');
  const codes = new Int32Array(rows * cols);
  const size = rows / groups;
  for (const [g, factor] of factors.entries())
    await roundGroup(problem, quadratic, words, scale, factor, { from: g * size, size }, codes, matrices);
  return { codes, scale, zeroPoint: new Int32Array(scale.length) };
}

async function roundGroup(
  problem: LayerProblem,
  quadratic: Quadratic,
  words: VectorWords,
  scale: Float64Array,
  factor: VectorFactor,
  rows: { readonly from: number; readonly size: number },
  codes: Int32Array,
  matrices: Matrices,
): Promise<void> {
  const n = factor.order.length;
  const offset = await slopeOffset(factor, quadratic, rows, matrices);
  const moved = new Float32Array(rows.size * n);
  for (const panel of panelsOf(factor.vectors).toReversed()) {
    const [first, last] = [required(panel[0], 'a vector'), required(panel.at(-1), 'a vector')];
    const range = { from: first.from, to: last.to };
    const pull = await pullOn(factor, moved, offset, rows.size, range, matrices);
    const width = range.to - range.from;
    for (const vector of panel.toReversed()) {
      const choose = chooser(words, factor, vector);
      for (let r = 0; r < rows.size; r++)
        roundVector(problem, quadratic, scale, factor, rows.from + r, vector, range, codes, choose, {
          pull: pull.subarray(r * width, (r + 1) * width),
          moved: moved.subarray(r * n, (r + 1) * n),
        });
    }
  }
}

/** Vectors in runs of at most BLOCK columns. */
function panelsOf(vectors: readonly Range[]): Range[][] {
  const panels: Range[][] = [];
  for (const vector of vectors) {
    const panel = panels.at(-1);
    const start = panel?.[0]?.from ?? 0;
    if (panel !== undefined && vector.to - start <= BLOCK) panel.push(vector);
    else panels.push([vector]);
  }
  return panels;
}

/** The word whose values, at scales, are closest to wanted ones where U sees the difference; its entries' first index. */
type Choose = (wanted: Float64Array, step: Float64Array) => number;

/** Chooses by ‖A(s·c − wanted)‖² with A the vector's own triangle of U. */
function chooser({ size, table }: VectorWords, { upper, order }: VectorFactor, { from, to }: Range): Choose {
  const n = order.length;
  const width = to - from;
  return (wanted, step) => {
    let least = Infinity;
    let best = 0;
    for (let at = 0; at < table.length; at += size) {
      let sum = 0;
      for (let i = width - 1; i >= 0 && sum < least; i--) {
        let term = 0;
        for (let j = i, u = (from + i) * n + from + i; j < width; j++, u++)
          term +=
            (upper[u] as number) * ((table[at + j] as number) * (step[j] as number) - (wanted[j] as number));
        sum += term * term;
      }
      if (sum >= least) continue;
      least = sum;
      best = at;
    }
    return best;
  };
}

/** Rounds one vector of one row to the word that is best given those after it. */
function roundVector(
  { cols, sharing, grid }: LayerProblem,
  { reference }: Quadratic,
  scale: Float64Array,
  { order, upper }: VectorFactor,
  row: number,
  { from, to }: Range,
  panel: Range,
  codes: Int32Array,
  choose: Choose,
  { pull, moved }: { readonly pull: Float32Array; readonly moved: Float32Array },
): void {
  const base = (sharing.rowSet[row] as number) * sharing.blocks;
  const width = to - from;
  const [wanted, step] = [new Float64Array(width), new Float64Array(width)];
  // A(ŵ − w) + pull = 0 solved from the last column on.
  for (let i = width - 1; i >= 0; i--) {
    const c = from + i;
    const column = order[c] as number;
    const w = reference[row * cols + column] as number;
    let sum = pull[c - panel.from] as number;
    for (let k = to, at = c * cols + k; k < panel.to; k++, at++)
      sum += (upper[at] as number) * (moved[k] as number);
    for (let j = i + 1, at = c * cols + from + j; j < width; j++, at++)
      sum +=
        (upper[at] as number) *
        ((wanted[j] as number) - (reference[row * cols + (order[from + j] as number)] as number));
    wanted[i] = w - sum / (upper[c * cols + c] as number);
    step[i] = scale[base + (sharing.block[column] as number)] as number;
  }
  const { table } = required(grid.words, 'words of a grid');
  const at = choose(wanted, step);
  for (let i = 0; i < width; i++) {
    const column = order[from + i] as number;
    const code = table[at + i] as number;
    codes[row * cols + column] = code;
    moved[from + i] = code * (step[i] as number) - (reference[row * cols + column] as number);
  }
}
