/** Rounding without data: to nearest, and stochastic. */
import { describe, expect, it } from 'vitest';
import { type Plan } from '../../src/plan/index.js';
import { roundToNearest } from '../../src/solve/round-to-nearest.js';
import { loadTensor } from '../../src/onnx/index.js';
import { toFloat32 } from '../../src/tensor/index.js';
import { model } from '../helpers/model.js';
import { planFixed } from '../helpers/quantized.js';

const layer = model`opset 17 (float32[N,64] x) => (y) {
  w: float32[64,256] = random(seed=1, scale=0.2)
  y = MatMul(x, w) }`;
const weights = toFloat32(loadTensor(layer.graph.initializers.get('w')!, 'w'));

/** Errors in steps of the scale. */
function errors(plan: Plan, seed = 0): Float64Array {
  const { codes, scale } = roundToNearest(layer.graph, plan, 'range', seed).get('w')!;
  return Float64Array.from(codes, (code, i) => code - weights[i]! / scale[i % scale.length]!);
}

const mean = (xs: Float64Array, of: (x: number) => number = (x) => x): number =>
  xs.reduce((sum, x) => sum + of(x), 0) / xs.length;

describe('stochastic rounding', () => {
  it('goes to either neighbour, is right on average, and has twice the squared error of nearest', async () => {
    const nearest = errors(await planFixed(layer, { weights: 'int6', solver: 'nearest' }));
    const stochastic = errors(await planFixed(layer, { weights: 'int6', solver: 'stochastic' }));
    expect(Math.max(...stochastic.map(Math.abs))).toBeLessThanOrEqual(1 + 1e-4);
    expect(Math.max(...nearest.map(Math.abs))).toBeLessThanOrEqual(0.5 + 1e-4);
    expect(Math.abs(mean(stochastic))).toBeLessThan(0.01);
    expect(mean(stochastic, (x) => x * x) / mean(nearest, (x) => x * x)).toBeCloseTo(2, 1);
    // The error says nothing about where between two codes the weight lies.
    const upper = stochastic.filter((_, i) => Math.abs(nearest[i]!) > 0.3);
    expect(Math.abs(mean(upper))).toBeLessThan(0.03);
  });

  it('follows the seed', async () => {
    const plan = await planFixed(layer, { weights: 'int4', solver: 'stochastic' });
    expect(errors(plan, 3)).toEqual(errors(plan, 3));
    expect(errors(plan, 3)).not.toEqual(errors(plan, 4));
  });

  it('is for formats that are rounded to the nearest integer', async () => {
    for (const weights of ['nf4', 'e4m3', 'pot8k2', 'fix6:AP_TRN:AP_SAT']) {
      const plan = await planFixed(layer, { weights, solver: 'stochastic', activations: 'float' });
      expect(() => errors(plan)).toThrow('is not rounded to the nearest integer');
    }
  });
});
