/** The compressed form of a sparse weight: the kept codes, and where in its group each belongs. */
import { FxqError, assert } from '../../core/index.js';
import { elementIndex, fromMatrix, matrixSize, type WeightLayout } from '../weight-layout.js';
import { packBits, unpackBits } from './bit-stream.js';
import { formatPattern, patternColumns, type Pattern } from './pattern.js';

/**
 * Two bit streams, least significant bit first, over all groups: row by row, groups in the pattern's column order.
 *
 * - `values`: the n kept codes of each group in rising position, `bits` bits each (two's complement when signed)
 * - `indices`: the position of each kept unit in its group, ⌈log2(m/unit)⌉ bits each; 2 bits for 2:4
 *
 * A group with fewer non-zero units keeps its first zero ones, too, so that every group has the same size.
 */
export interface PackedWeight {
  readonly layout: WeightLayout;
  readonly pattern: Pattern;
  readonly bits: number;
  readonly signed: boolean;
  readonly values: Uint8Array;
  readonly indices: Uint8Array;
}

/** Bits of one position. */
export function indexBits({ m, unit }: Pattern): number {
  return Math.ceil(Math.log2(m / unit));
}

/** Bits that `m` weights take when packed: 20 for 2:4 in 8 bits, against 32 dense. */
export function groupBits(pattern: Pattern, bits: number): number {
  return pattern.n * bits + (pattern.n / pattern.unit) * indexBits(pattern);
}

/** Bytes of the two streams of a weight with this many elements. */
export function packedBytes(
  elements: number,
  pattern: Pattern,
  bits: number,
): { values: number; indices: number } {
  const kept = (elements / pattern.m) * pattern.n;
  return {
    values: Math.ceil((kept * bits) / 8),
    indices: Math.ceil(((kept / pattern.unit) * indexBits(pattern)) / 8),
  };
}

/**
 * Packs codes, which stand for zero when they are 0.
 *
 * @param codes in the initializer's order
 * @throws FxqError E_GATE when a group has more non-zero units than the pattern allows
 */
export function packWeight(
  layout: WeightLayout,
  codes: ArrayLike<number>,
  pattern: Pattern,
  bits: number,
  signed: boolean,
): PackedWeight {
  const { n, m, unit } = pattern;
  const { rows, cols } = matrixSize(layout);
  assert(layout.in % m === 0, `${layout.in} channels in groups of ${m}`);
  const index = elementIndex(layout);
  const columns = patternColumns(layout);
  const groups = (rows * cols) / m;
  const values = new Int32Array(groups * n);
  const positions = new Int32Array((groups * n) / unit);
  let [value, position] = [0, 0];
  for (let row = 0; row < rows; row++)
    for (let from = 0; from < cols; from += m) {
      const codeAt = (i: number): number =>
        codes[index[row * cols + (columns[from + i] as number)] as number] as number;
      const kept = keptUnits(codeAt, pattern);
      if (kept === undefined) {
        const place = `row ${row}, position ${from}`;
        throw new FxqError('E_GATE', `the weight breaks the pattern ${formatPattern(pattern)} at ${place}`);
      }
      for (const u of kept) {
        positions[position++] = u;
        for (let i = 0; i < unit; i++) values[value++] = codeAt(u * unit + i);
      }
    }
  return {
    layout,
    pattern,
    bits,
    signed,
    values: packBits(values, bits),
    indices: packBits(positions, indexBits(pattern)),
  };
}

/** Codes in the initializer's order. @throws FxqError E_DATA for streams of the wrong length or content */
export function unpackWeight({ layout, pattern, bits, signed, values, indices }: PackedWeight): Int32Array {
  const { n, m, unit } = pattern;
  const { rows, cols } = matrixSize(layout);
  const groups = (rows * cols) / m;
  const expected = packedBytes(rows * cols, pattern, bits);
  if (values.length !== expected.values || indices.length !== expected.indices)
    throw new FxqError('E_DATA', 'a packed weight is incomplete', 'Write it again.');
  const kept = unpackBits(values, bits, groups * n, signed);
  const positions = unpackBits(indices, indexBits(pattern), (groups * n) / unit, false);
  const columns = patternColumns(layout);
  const matrix = new Int32Array(rows * cols);
  let [value, position] = [0, 0];
  for (let row = 0; row < rows; row++)
    for (let from = 0; from < cols; from += m)
      for (let k = 0; k < n / unit; k++) {
        const u = positions[position++] as number;
        if (u >= m / unit)
          throw new FxqError('E_DATA', `a packed weight has position ${u} in a group`, 'Write it again.');
        for (let i = 0; i < unit; i++)
          matrix[row * cols + (columns[from + u * unit + i] as number)] = kept[value++] as number;
      }
  return fromMatrix(layout, matrix);
}

/** Units to store, rising: all non-zero ones, filled up with the first others; undefined when there are too many. */
function keptUnits(codeAt: (i: number) => number, { n, m, unit }: Pattern): number[] | undefined {
  const used: number[] = [];
  const spare: number[] = [];
  for (let u = 0; u < m / unit; u++) {
    const isUsed = Array.from({ length: unit }, (_, i) => codeAt(u * unit + i)).some((code) => code !== 0);
    (isUsed ? used : spare).push(u);
  }
  if (used.length > n / unit) return undefined;
  return [...used, ...spare.slice(0, n / unit - used.length)].sort((a, b) => a - b);
}
