import { describe, expect, test } from 'vitest';
import { storeTensor, withGraph, type Model } from '../../../src/onnx/index.js';
import { findWeightedLayers } from '../../../src/solve/layers.js';
import { fromMatrix, matrixSize } from '../../../src/solve/weight-layout.js';
import {
  maskByScore,
  parsePattern,
  patternColumns,
  verifySparsity,
} from '../../../src/solve/sparsity/index.js';
import { tensor, toFloat32, type Tensor } from '../../../src/tensor/index.js';
import { loadTensor } from '../../../src/onnx/index.js';
import { model } from '../../helpers/model.js';

const two4 = parsePattern('2:4');

const float = model`
  opset 17
  (float32[1,8,4,4] x) => (float32[1,6,1,1] y) {
    w1: float32[12,8,3,3] = random()
    w2: float32[6,12,2,2] = random()
    a = [first] Conv(x, w1)
    y = [second] Conv(a, w2)
  }`;

const quantized = model`
  opset 17
  (float32[1,8] x) => (float32[1,4] y) {
    q: int8[8,4] = {
      5, 0, 0, 1,   0, 3, 0, 1,   0, 0, 0, 0,   2, 0, 9, 0,
      0, 0, 0, 0,   1, 1, 0, 0,   1, 0, 0, 7,   0, 0, 0, 7}
    s: float32[4] = full(value=0.1)
    z: int8[4] = full(value=0)
    w = DequantizeLinear<axis=1>(q, s, z)
    y = [fc] MatMul(x, w)
  }`;

function mapWeight(source: Model, name: string, change: (t: Tensor) => Tensor): Model {
  const initializers = new Map(source.graph.initializers);
  initializers.set(name, storeTensor(change(loadTensor(initializers.get(name)!))));
  return withGraph(source, { ...source.graph, initializers });
}

/** Prunes every layer by magnitude; along the right columns, or along adjacent elements of OIHW order. */
function prune(source: Model, adjacent: boolean): Model {
  return findWeightedLayers(source.graph).reduce((now, { weight, layout }) => {
    const columns = adjacent
      ? patternColumns({ in: layout.in * layout.kernel, kernel: 1 })
      : patternColumns(layout);
    return mapWeight(now, weight, (t) => {
      const values = toFloat32(t);
      const mask = maskByScore(values.map(Math.abs), matrixSize(layout).rows, columns, two4);
      const kept = fromMatrix(layout, Float32Array.from(mask));
      return tensor(
        'float32',
        t.dims,
        values.map((v, i) => v * kept[i]!),
      );
    });
  }, source);
}

describe('verifySparsity', () => {
  test('passes layers pruned along channels and finds those pruned along adjacent elements', async () => {
    const right = await verifySparsity(prune(float, false), two4);
    expect(right.map((l) => [l.node, l.groups, l.violations, l.density])).toEqual([
      ['first', (12 * 8 * 9) / 4, 0, 0.5],
      ['second', (6 * 12 * 4) / 4, 0, 0.5],
    ]);
    const wrong = await verifySparsity(prune(float, true), two4);
    expect(wrong.every((l) => l.density === 0.5 && l.violations > 0)).toBe(true);
  });

  test('finds every group of a dense model', async () => {
    const [first] = await verifySparsity(float, two4, new Set(['first']));
    expect(first).toMatchObject({ violations: 216, first: { row: 0, position: 0 }, density: 1 });
  });

  test('reads stored codes through whatever turns them into weights', async () => {
    const [fc] = await verifySparsity(quantized, two4);
    expect(fc).toMatchObject({ node: 'fc', weight: 'w', groups: 8, violations: 0 });
    const spoiled = mapWeight(quantized, 'q', (t) => ({
      ...t,
      data: Int8Array.from(t.data as Int8Array, (q, i) => (i === 8 ? 1 : q)),
    }));
    expect((await verifySparsity(spoiled, two4))[0]).toMatchObject({
      violations: 1,
      first: { row: 0, position: 0 },
    });
  });

  test('counts pairs for a pattern in pairs', async () => {
    expect((await verifySparsity(quantized, parsePattern('4:8/2')))[0]?.violations).toBe(1);
  });

  test('a reduction that is no multiple of m violates the pattern as a whole', async () => {
    const [first] = await verifySparsity(float, parsePattern('2:16'), new Set(['first']));
    expect(first?.violations).toBe(first?.groups);
  });
});
