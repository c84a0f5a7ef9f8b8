/** Gram matrices from the runtime against sums written out, for widths that are multiplied whole and in halves. */
import { describe, expect, test } from 'vitest';
import { createContext, createRng } from '../../src/core/index.js';
import { NO_CARRY, type Batch } from '../../src/engine/index.js';
import { type Model } from '../../src/onnx/index.js';
import { collectMoments, findWeightedLayers } from '../../src/solve/index.js';
import { tensor } from '../../src/tensor/index.js';
import { model } from '../helpers/model.js';

const SAMPLES = 12;

/** Everything about one run: its values, and the Gram matrix that fxq collects. */
async function gramOf(
  source: Model,
  dims: readonly number[],
): Promise<{ x: Float32Array; gram: Float64Array }> {
  const rng = createRng(3);
  const size = dims.reduce((a, b) => a * b, 1);
  const x = Float32Array.from({ length: SAMPLES * size }, () => rng.normal() + 0.2);
  const batch: Batch = {
    first: 0,
    count: SAMPLES,
    inputs: new Map([['x', tensor('float32', [SAMPLES, ...dims], x)]]),
  };
  const data = {
    samples: SAMPLES,
    carry: NO_CARRY,
    batches: async function* () {
      yield await Promise.resolve(batch);
    },
  };
  const found = await collectMoments(
    source,
    findWeightedLayers(source.graph),
    data,
    createContext({ threads: 1 }),
    { heldOut: 0, rowsPerColumn: Infinity },
  );
  const [moments] = found.values();
  return { x, gram: moments?.fit.gram[0] ?? new Float64Array() };
}

/** Mean of xᵀx over rows, [cols × cols]. */
function written(rows: readonly (readonly number[])[]): number[] {
  const cols = rows[0]?.length ?? 0;
  return Array.from({ length: cols * cols }, (_, i) => {
    const [a, b] = [Math.floor(i / cols), i % cols];
    return rows.reduce((sum, row) => sum + (row[a] ?? 0) * (row[b] ?? 0), 0) / rows.length;
  });
}

/** Rows of a 3×3 window over [channels, 4, 4] images with a border of zeros. */
function windows(x: Float32Array, channels: number): number[][] {
  const at = (n: number, c: number, row: number, col: number): number =>
    row < 0 || col < 0 || row > 3 || col > 3 ? 0 : (x[((n * channels + c) * 4 + row) * 4 + col] ?? 0);
  return Array.from({ length: SAMPLES * 16 }, (_, i) => {
    const [n, row, col] = [Math.floor(i / 16), Math.floor(i / 4) % 4, i % 4];
    return Array.from({ length: channels * 9 }, (_, k) =>
      at(n, Math.floor(k / 9), row + (Math.floor(k / 3) % 3) - 1, col + (k % 3) - 1),
    );
  });
}

function expectClose(actual: Float64Array, expected: readonly number[]): void {
  expect(actual).toHaveLength(expected.length);
  const furthest = expected.reduce((most, e, i) => Math.max(most, Math.abs(e - (actual[i] ?? NaN))), 0);
  // Float32 sums of some hundred products of size 1.
  expect(furthest).toBeLessThan(1e-5);
}

describe('collectMoments', () => {
  test.each([5, 64, 67])('a product with %i columns', async (cols) => {
    const source = model`
      opset 17
      (float32[N,${cols}] x) => (float32[N,3] y) {
        w: float32[${cols},3] = random()
        y = [p] MatMul(x, w)
      }`;
    const { x, gram } = await gramOf(source, [cols]);
    const rows = Array.from({ length: SAMPLES }, (_, n) => [...x.subarray(n * cols, (n + 1) * cols)]);
    expectClose(gram, written(rows));
  });

  test.each([1, 8])('a convolution of %i channels', async (channels) => {
    const source = model`
      opset 17
      (float32[N,${channels},4,4] x) => (float32[N,2,4,4] y) {
        w: float32[2,${channels},3,3] = random()
        y = [p] Conv<pads=[1, 1, 1, 1]>(x, w)
      }`;
    const { x, gram } = await gramOf(source, [channels, 4, 4]);
    expectClose(gram, written(windows(x, channels)));
    const cols = channels * 9;
    for (let i = 0; i < cols * cols; i++)
      expect(gram[i]).toBe(gram[(i % cols) * cols + Math.floor(i / cols)]);
  });
});
