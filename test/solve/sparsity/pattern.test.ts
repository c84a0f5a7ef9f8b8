import { describe, expect, test } from 'vitest';
import fc from 'fast-check';
import {
  formatPattern,
  keepLargest,
  maskByScore,
  parsePattern,
  patternColumns,
} from '../../../src/solve/sparsity/pattern.js';

describe('parsePattern', () => {
  test.each(['2:4', '4:8', '1:4', '4:8/2', '8:16/4'])('reads %s and writes it again', (text) => {
    expect(formatPattern(parsePattern(text))).toBe(text);
  });
  test.each(['', '4:2', '4:4', '0:4', '2:65', '2-4', '3:8/2', '2:4/0', '2:4 '])("refuses '%s'", (text) => {
    expect(() => parsePattern(text)).toThrowError(`'${text}' is not a sparsity pattern`);
  });
});

describe('patternColumns', () => {
  test('groups the channels of one kernel position, not adjacent elements of OIHW order', () => {
    // Eight channels, a 1×2 kernel: element (channel, k) of a row is column 2·channel + k.
    expect(Array.from(patternColumns({ in: 8, kernel: 2 }))).toEqual([
      0, 2, 4, 6, 8, 10, 12, 14, 1, 3, 5, 7, 9, 11, 13, 15,
    ]);
  });
  test('is the plain order where there is no kernel', () => {
    expect(Array.from(patternColumns({ in: 4, kernel: 1 }))).toEqual([0, 1, 2, 3]);
  });
});

describe('keepLargest', () => {
  test.each([
    ['2:4', [1, 3, 2, 0], [0, 1, 1, 0]],
    ['2:4', [1, 1, 1, 1], [1, 1, 0, 0]],
    ['1:4', [0, 0, 0, 5], [0, 0, 0, 1]],
    // Pairs (1,0) (5,0) (3,3) (0,2): the two with the largest sums.
    ['4:8/2', [1, 0, 5, 0, 3, 3, 0, 2], [0, 0, 1, 1, 1, 1, 0, 0]],
  ])('%s of [%s]', (text, scores, expected) => {
    const kept = new Uint8Array(scores.length);
    keepLargest(Float64Array.from(scores), parsePattern(text), kept);
    expect(Array.from(kept)).toEqual(expected);
  });
});

test('a mask keeps exactly n of every m, in the column order given', () => {
  fc.assert(
    fc.property(
      fc.constantFrom('2:4', '4:8', '1:4', '4:8/2'),
      fc.integer({ min: 1, max: 3 }),
      fc.integer({ min: 1, max: 4 }),
      fc.integer(),
      (text, rows, kernel, seed) => {
        const pattern = parsePattern(text);
        const columns = patternColumns({ in: 16, kernel });
        const scores = Float64Array.from({ length: rows * columns.length }, (_, i) =>
          Math.abs(Math.sin(seed + i)),
        );
        const mask = maskByScore(scores, rows, columns, pattern);
        for (let r = 0; r < rows; r++)
          for (let from = 0; from < columns.length; from += pattern.m) {
            const group = Array.from(
              columns.subarray(from, from + pattern.m),
              (c) => mask[r * columns.length + c]!,
            );
            expect(group.reduce((a, b) => a + b)).toBe(pattern.n);
          }
      },
    ),
    { numRuns: 50, seed: 1 },
  );
});
