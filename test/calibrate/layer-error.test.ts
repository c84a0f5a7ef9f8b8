/** Ranges by layer error: outliers that layers do not look at are cut off, outliers they look at are kept. */
import { describe, expect, it } from 'vitest';
import { rangesByLayerError } from '../../src/calibrate/index.js';
import { createContext, createRng } from '../../src/core/index.js';
import { inferValueTypes } from '../../src/engine/index.js';
import { type Model } from '../../src/onnx/index.js';
import { DEFAULT_SETTINGS, planQuantization, type Plan } from '../../src/plan/index.js';
import { tensor, type Tensor } from '../../src/tensor/index.js';
import { model } from '../helpers/model.js';
import { statisticsOf } from './sketches.js';

/** A product that sees channel 0, where outliers are, with a weight or without. */
const reading = (weight: number): Model => model`
  opset 21
  (float32[N,4] x) => (float32[N,2] y) {
    w: float32[4,2] = {${weight}, ${weight}, 1, -1, 0.5, 1, -1, 0.3}
    y = [p] MatMul(x, w)
  }`;

function samples(outlier: number): Tensor {
  const rng = createRng(2);
  const values = Float32Array.from({ length: 4096 }, (_, i) => (i % 512 === 0 ? outlier : 1) * rng.normal());
  return tensor('float32', [1024, 4], values);
}

async function choose(source: Model, x: Tensor, activations = 'uint8'): Promise<Plan> {
  const plan = planQuantization(source, await inferValueTypes(source), { ...DEFAULT_SETTINGS, activations });
  const batches = [{ first: 0, count: 1024, inputs: new Map([['x', x]]) }];
  return rangesByLayerError(source, plan, statisticsOf(x), batches, new Map(), createContext({ threads: 1 }));
}

const reach = (plan: Plan): number => plan.activations.x?.range?.high ?? NaN;

describe('ranges by layer error', () => {
  it('cuts off outliers that no layer looks at', async () => {
    const x = samples(50);
    const most = (x.data as Float32Array).reduce((a, b) => Math.max(a, b));
    const plan = await choose(reading(0), x);
    expect(plan.activations.x?.range?.method).toBe('layer-error');
    expect(reach(plan)).toBeLessThan(most / 4);
  });

  it('keeps them where layers do', async () => {
    const x = samples(50);
    const most = (x.data as Float32Array).reduce((a, b) => Math.max(a, b));
    expect(reach(await choose(reading(2), x))).toBeCloseTo(most, 3);
  });

  it('keeps nearly everything where there are none', async () => {
    const x = samples(1);
    const most = (x.data as Float32Array).reduce((a, b) => Math.max(a, b));
    expect(reach(await choose(reading(1), x))).toBeGreaterThan(0.75 * most);
  });

  it('leaves ranges that were given', async () => {
    const source = reading(1);
    const plan = planQuantization(source, await inferValueTypes(source), {
      ...DEFAULT_SETTINGS,
      tensors: [{ tensor: 'x', range: [-1, 1] }],
    });
    const x = samples(1);
    const batches = [{ first: 0, count: 1024, inputs: new Map([['x', x]]) }];
    const chosen = await rangesByLayerError(
      source,
      plan,
      statisticsOf(x),
      batches,
      new Map(),
      createContext({ threads: 1 }),
    );
    expect(chosen).toEqual(plan);
  });
});
