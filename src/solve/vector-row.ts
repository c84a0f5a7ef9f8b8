/** One row under coordinate descent over words: every vector takes the word that is best given all others. */
import { NOISE, type Columns, type Row } from './descent-row.js';
import { addRow } from './linear-algebra.js';
import { type VectorWords } from './problem.js';

/** What words cost by themselves: cHc for every word c at scale 1, by vector of a row. */
interface Curvatures {
  readonly h: Float64Array;
  readonly ofVector: readonly Float64Array[];
}

/**
 * Makes single rows better: sweeps until no other word for one vector lowers the objective.
 *
 * With the others fixed, word c costs 2v·c + cHc up to a constant, where v is half the gradient without the vector's own
 * part and H its block on the diagonal. Rows of one group at even scales share cHc.
 *
 * @param columns scales of the row's columns, filled by the caller
 */
export function vectorImprover({ size, table }: VectorWords, columns: Columns): (row: Row) => void {
  const entries = Float64Array.from(table);
  let known: Curvatures | undefined;
  return (row) => {
    const { h, codes } = row;
    const cols = codes.length;
    if (known?.h !== h) known = { h, ofVector: curvatures(entries, size, h, cols) };
    const { ofVector } = known;
    while (sweepVectors(row, columns, entries, size, ofVector) > 0);
  };
}

function curvatures(entries: Float64Array, size: number, h: Float64Array, cols: number): Float64Array[] {
  return Array.from({ length: Math.ceil(cols / size) }, (_, v) =>
    wordCurvature(entries, size, h, cols, v * size, undefined),
  );
}

/** cHc of every word for the vector that begins at a column; at given scales, or all 1. */
function wordCurvature(
  entries: Float64Array,
  size: number,
  h: Float64Array,
  cols: number,
  from: number,
  step: Float64Array | undefined,
): Float64Array {
  const width = Math.min(size, cols - from);
  const curvature = new Float64Array(entries.length / size);
  for (let word = 0, at = 0; word < curvature.length; word++, at += size) {
    let sum = 0;
    for (let i = 0; i < width; i++) {
      const x = (entries[at + i] as number) * (step?.[from + i] ?? 1);
      for (let j = 0, to = (from + i) * cols + from; j < width; j++, to++)
        sum += x * (h[to] as number) * (entries[at + j] as number) * (step?.[from + j] ?? 1);
    }
    curvature[word] = sum;
  }
  return curvature;
}

/** Gives every vector of a row, in turn, its best word. Returns the number of changes. */
function sweepVectors(
  row: Row,
  { step }: Columns,
  entries: Float64Array,
  size: number,
  unit: readonly Float64Array[],
): number {
  const { h, values, gradient } = row;
  const cols = values.length;
  const pull = new Float64Array(size);
  const change = new Float64Array(size);
  let changes = 0;
  for (let from = 0, v = 0; from < cols; from += size, v++) {
    const width = Math.min(size, cols - from);
    const scale = step[from] as number;
    let isEven = true;
    for (let i = 0; i < width; i++) {
      let slope = gradient[from + i] as number;
      for (let j = 0, at = (from + i) * cols + from; j < width; j++, at++)
        slope -= (h[at] as number) * (values[from + j] as number);
      if (step[from + i] !== scale) isEven = false;
      pull[i] = slope;
    }
    pull.fill(0, width);
    const word = isEven
      ? bestWord(entries, size, pull, unit[v] as Float64Array, scale)
      : bestWord(
          entries,
          size,
          scaled(pull, step, from),
          wordCurvature(entries, size, h, cols, from, step),
          1,
        );
    for (let i = 0; i < width; i++)
      change[i] =
        (entries[word * size + i] as number) * (step[from + i] as number) - (values[from + i] as number);
    if (!isGain(row, change, from, width)) continue;
    setWord(row, entries, step, from, width, word * size);
    changes++;
  }
  return changes;
}

function scaled(pull: Float64Array, step: Float64Array, from: number): Float64Array {
  return pull.map((x, i) => x * (step[from + i] ?? 0));
}

/** The word c with the least 2·pull·c + scale·cHc. */
function bestWord(
  entries: Float64Array,
  size: number,
  pull: Float64Array,
  curvature: Float64Array,
  scale: number,
): number {
  let least = Infinity;
  let best = 0;
  for (let word = 0, at = 0; word < curvature.length; word++) {
    let sum = 0;
    for (let i = 0; i < size; i++, at++) sum += (pull[i] as number) * (entries[at] as number);
    const cost = 2 * sum + scale * (curvature[word] as number);
    if (cost < least) {
      least = cost;
      best = word;
    }
  }
  return best;
}

/** Whether a change of one vector lowers the objective by more than rounding could. */
function isGain({ h, gradient }: Row, change: Float64Array, from: number, width: number): boolean {
  const cols = gradient.length;
  let slope = 0;
  let curvature = 0;
  for (let i = 0; i < width; i++) {
    slope += (change[i] as number) * (gradient[from + i] as number);
    for (let j = 0, at = (from + i) * cols + from; j < width; j++, at++)
      curvature += (change[i] as number) * (h[at] as number) * (change[j] as number);
  }
  return 2 * slope + curvature < -NOISE * curvature;
}

function setWord(
  row: Row,
  entries: Float64Array,
  step: Float64Array,
  from: number,
  width: number,
  at: number,
): void {
  for (let i = 0, c = from; i < width; i++, c++) {
    const after = (entries[at + i] as number) * (step[c] as number);
    const change = after - (row.values[c] as number);
    row.codes[c] = entries[at + i] as number;
    row.values[c] = after;
    if (change !== 0) addRow(row.gradient, change, row.h, c);
  }
}
