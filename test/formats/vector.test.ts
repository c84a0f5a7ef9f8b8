/** Vector formats: layouts, k-means in several dimensions, and what vectors gain over single levels of as many bits. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { createRng } from '../../src/core/index.js';
import {
  byBlock,
  byChannel,
  dequantize,
  elementOrder,
  isInOrder,
  kMeans,
  learnWords,
  parseFormat,
  reductionMatrix,
  storedFormat,
  tensorBytes,
  vectorFormat,
  WHOLE_TENSOR,
  type Grouping,
} from '../../src/formats/index.js';
import { assign, lloyd, vectorKMeans } from '../../src/formats/vector-k-means.js';
import { roundWeight } from '../../src/solve/index.js';
import { tensor } from '../../src/tensor/index.js';

const rng = createRng(5);
const [ROWS, COLS] = [64, 256];
const draw = (f: () => number): Float32Array => Float32Array.from({ length: ROWS * COLS }, f);
const gaussian = draw(() => rng.normal());
const uniform = draw(() => 2 * rng.uniform() - 1);
/** Neighbours in pairs that are nearly equal. */
const paired = gaussian.map((v, i) => (i % 2 === 0 ? v : (gaussian[i - 1] ?? 0) + 0.2 * v));

function meanSquare(name: string, values: Float32Array, perRow = true): number {
  const weight = {
    initializer: 'w',
    format: name,
    granularity: perRow ? ({ kind: 'channel', axis: 0 } as const) : ({ kind: 'tensor' } as const),
    reduction: { axes: [1], groups: 1 },
    scale: [],
    zeroPoint: [],
    solver: 'nearest',
    why: 'test',
  };
  const solved = roundWeight(weight, tensor('float32', [ROWS, COLS], values), 'mse');
  const grouping = perRow ? byChannel([ROWS, COLS], 0) : WHOLE_TENSOR;
  const back = dequantize(storedFormat(name, solved.levels), solved, grouping);
  return values.reduce((sum, v, i) => sum + (v - (back[i] ?? 0)) ** 2, 0) / values.length;
}

describe('vector formats', () => {
  it.each([
    ['vector8d4', 2, 'uint8'],
    ['vector8d2', 4, 'uint8'],
    ['vector6d2', 3, 'uint8'],
    ['vector4d2', 2, 'uint4'],
    ['vector2d2', 1, 'uint2'],
    ['vector8d8', 1, 'uint8'],
  ])('%s takes %d bits a weight, codes in %s', (name, bits, dtype) => {
    expect(parseFormat(name)).toMatchObject({ name, bits, dtype, integer: false, uniform: false });
  });

  it.each(['vector9d2', 'vector1d2', 'vector8d5', 'vector8d1', 'vector8', 'vector8d'])('refuses %s', (name) =>
    expect(() => parseFormat(name)).toThrow(/unknown number format.*vectorNdD|unknown number format/),
  );

  it('decodes every code to the entry of its word, and has no codes of single weights', () => {
    const format = vectorFormat(2, 3, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, -127]);
    expect(Array.from({ length: 12 }, (_, code) => format.decode(code))).toEqual([
      0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, -127,
    ]);
    expect(format).toMatchObject({ low: 0, high: 11, bits: 2 / 3, vector: { size: 3, words: 4 } });
    expect(() => format.encode(1)).toThrow(/no codes of single weights/);
    expect(storedFormat('vector2d3', format.levels).levels).toEqual(format.levels);
  });

  it('counts whole vectors of every row, the words in bytes, and scales', () => {
    const format = parseFormat('vector8d4');
    // 10 rows of 18 vectors.
    expect(tensorBytes(format, { count: 700, groups: 10, depth: 70 })).toBe(180 + 40 + 1024);
    expect(tensorBytes(parseFormat('vector4d2'), { count: 700, groups: 1, depth: 70 })).toBe(175 + 4 + 32);
    expect(tensorBytes(format, { count: 0, groups: 1, depth: 70 })).toBe(4 + 1024);
  });
});

describe('reduction matrices', () => {
  it.each([
    ['a convolution', [4, 3, 2, 2], { axes: [1, 2, 3], groups: 1 }, [4, 12], true],
    ['a grouped one', [4, 3, 2, 2], { axes: [1, 2, 3], groups: 2 }, [4, 12], true],
    ['a transposed one', [4, 3, 2, 2], { axes: [0, 2, 3], groups: 1 }, [3, 16], false],
    ['a transposed one of groups', [4, 3, 2, 2], { axes: [0, 2, 3], groups: 2 }, [6, 8], false],
    ['a product', [5, 7], { axes: [0], groups: 1 }, [7, 5], false],
    ['products of a batch', [2, 5, 7], { axes: [1], groups: 1 }, [14, 5], false],
  ] as const)('of %s', (_, dims, reduction, size, inOrder) => {
    const matrix = reductionMatrix(dims, reduction);
    expect([matrix.rows, matrix.cols]).toEqual(size);
    expect(isInOrder(matrix)).toBe(inOrder);
    const order = elementOrder(matrix);
    const count = dims.reduce((a, b) => a * b, 1);
    expect([...order].sort((a, b) => a - b)).toEqual(Array.from({ length: count }, (_, i) => i));
    expect([...order].every((v, i) => v === i)).toBe(inOrder);
  });

  it('follow input channels and kernel positions in every group', () => {
    // [groups · in, out, kernel] with 2 groups of 2 inputs, 3 outputs, kernel 2: row of group 1, output 2.
    const order = elementOrder(reductionMatrix([4, 3, 2], { axes: [0, 2], groups: 2 }));
    expect([...order.subarray(5 * 4)]).toEqual([16, 17, 22, 23]);
  });
});

describe('k-means of vectors', () => {
  const vectors = fc.array(fc.tuple(fc.integer({ min: -9, max: 9 }), fc.integer({ min: -9, max: 9 })), {
    minLength: 2,
    maxLength: 6,
  });
  const weightsOf = (n: number): Float64Array => Float64Array.from({ length: n }, (_, i) => 1 + (i % 3));

  it('is never better than the best of all partitions, and often that', () => {
    let best = 0;
    let runs = 0;
    fc.assert(
      fc.property(vectors, (points) => {
        const values = Float64Array.from(points.flat());
        const problem = { size: 2, values, weights: weightsOf(values.length) };
        const found = vectorKMeans(problem, 2);
        const least = bestPartition(problem.values, problem.weights);
        expect(found.error).toBeGreaterThanOrEqual(least - 1e-9);
        runs++;
        if (found.error <= least + 1e-9) best++;
      }),
      { seed: 1, numRuns: 200 },
    );
    expect(best / runs).toBeGreaterThan(0.6);
  });

  it('never raises the error from round to round, and assigns every vector to its nearest centre', () => {
    fc.assert(
      fc.property(vectors, (points) => {
        const values = Float64Array.from(points.flat());
        const problem = { size: 2, values, weights: weightsOf(values.length) };
        let before = Infinity;
        for (const rounds of [0, 1, 2, 8]) {
          const { error, centres, nearest } = lloyd(problem, values.slice(0, 4), rounds);
          expect(error).toBeLessThanOrEqual(before);
          before = error;
          expect(assign(problem, centres).nearest).toEqual(nearest);
        }
      }),
      { seed: 2 },
    );
  });

  it.each([
    [2, 16],
    [2, 256],
    [4, 256],
  ])('has no more error than the best single levels of as many bits: size %i, %i words', (size, words) => {
    for (const numbers of [gaussian, uniform, paired]) {
      const values = Float64Array.from(numbers);
      const weights = new Float64Array(values.length).fill(1);
      const single = assign({ size: 1, values, weights }, kMeans(values, undefined, words ** (1 / size)));
      const several = vectorKMeans({ size, values, weights }, words);
      expect(several.error).toBeLessThanOrEqual(single.error);
    }
  });

  it('finds the single levels of k-means in one dimension', () => {
    const values = Float64Array.from(gaussian.subarray(0, 2048));
    const weights = new Float64Array(values.length).fill(1);
    const exact = assign({ size: 1, values, weights }, kMeans(values, undefined, 8));
    const found = vectorKMeans({ size: 1, values, weights }, 8);
    expect(found.error).toBeCloseTo(exact.error, 9);
  });
});

/** Least error over all partitions of points of the plane into two clusters. */
function bestPartition(values: Float64Array, weights: Float64Array): number {
  const n = values.length / 2;
  let least = Infinity;
  for (let mask = 0; mask < 2 ** n; mask++) {
    let error = 0;
    for (const side of [0, 1])
      for (const j of [0, 1]) {
        const members = Array.from({ length: n }, (_, i) => i).filter((i) => ((mask >> i) & 1) === side);
        const weight = (i: number): number => weights[2 * i + j] ?? 0;
        const value = (i: number): number => values[2 * i + j] ?? 0;
        const total = members.reduce((sum, i) => sum + weight(i), 0);
        const mean = members.reduce((sum, i) => sum + weight(i) * value(i), 0) / total;
        error += members.reduce((sum, i) => sum + weight(i) * (value(i) - mean) ** 2, 0);
      }
    least = Math.min(least, error);
  }
  return least;
}

describe('learned words', () => {
  it('gain over single levels of as many bits: much where neighbours are alike, a little on independent ones', () => {
    const gain = (values: Float32Array): number =>
      meanSquare('vector8d4', values) / meanSquare('codebook2', values);
    expect(gain(gaussian)).toBeLessThan(0.93);
    expect(gain(paired)).toBeLessThan(0.65);
  });

  it('gain nothing that matters on independent uniform weights', () => {
    const ratio = meanSquare('vector8d2', uniform) / meanSquare('codebook4', uniform);
    expect(ratio).toBeGreaterThan(0.9);
    expect(ratio).toBeLessThan(1.03);
  });

  it('keep to bytes, and cost little by that', () => {
    const values = gaussian.subarray(0, 4096);
    const { table, scale } = learnWords(
      { values, cols: 64, cellOf: () => 0, cells: 1 },
      { size: 2, words: 256 },
      'mse',
    );
    expect(Math.max(...table.map(Math.abs))).toBe(127);
    expect(table.every(Number.isInteger)).toBe(true);
    expect(Math.fround(scale[0] ?? 0)).toBe(scale[0]);
  });

  it('count errors by the square of the scale, so that scales by channel pay', () => {
    const uneven = gaussian.map((v, i) => v * 2 ** (Math.floor(i / COLS) % 6));
    expect(meanSquare('vector6d2', uneven)).toBeLessThan(0.8 * meanSquare('vector6d2', uneven, false));
  });

  it.each<[string, Grouping]>([
    ['tensor', WHOLE_TENSOR],
    ['channel', byChannel([ROWS, COLS], 0)],
    ['block', byBlock([ROWS, COLS], 1, 30)],
  ])('leave zeros as good as zero: %s', (_, { of, count }) => {
    const values = gaussian.map((v, i) => (Math.floor(i / COLS) % 2 === 0 ? 0 : v));
    const { scale } = learnWords(
      { values, cols: COLS, cellOf: of, cells: count },
      { size: 4, words: 16 },
      'mse',
    );
    const zeros = scale.filter((_, cell) => values.every((v, i) => of(i) !== cell || v === 0));
    expect(Math.max(0, ...zeros)).toBeLessThan(1e-30);
    const nothing = learnWords(
      { values: values.map(() => 0), cols: COLS, cellOf: of, cells: count },
      { size: 4, words: 16 },
      'mse',
    );
    expect(nothing.table.every((x) => x === 0)).toBe(true);
    expect(nothing.scale.every((s) => s > 0)).toBe(true);
  });

  it('are words of a table of another length where there are few vectors', () => {
    const few = Float32Array.from([1, 2, 3, 4]);
    const words = learnWords(
      { values: few, cols: 4, cellOf: () => 0, cells: 1 },
      { size: 2, words: 16 },
      'mse',
    );
    expect(words.table).toHaveLength(32);
  });
});
