/** A mask in front of a Softmax takes no steps from the scores; numbers that are none stay in the range. */
import { describe, expect, it } from 'vitest';
import { chooseRange, RANGE_METHODS } from '../../src/calibrate/index.js';
import { createRng } from '../../src/core/index.js';
import { inferValueTypes } from '../../src/engine/index.js';
import { parseFormat } from '../../src/formats/index.js';
import { DEFAULT_SETTINGS, planQuantization } from '../../src/plan/index.js';
import { model } from '../helpers/model.js';
import { sketchOf } from './sketches.js';

const target = { format: parseFormat('uint8'), symmetric: false };

/** Rows of 16 scores, of which the last ones are masked. */
function scores(mask: number, masked: number, spread = 3): Float32Array {
  const rng = createRng(5);
  return Float32Array.from(
    { length: 64 * 16 },
    (_, i) => spread * rng.normal() + (i % 16 >= 16 - masked ? mask : 0),
  );
}

/** Every row is a sample. */
function rangeOf(x: Float32Array, method: (typeof RANGE_METHODS)[number] = 'minmax', softmaxOnly = true) {
  const rows = Array.from({ length: 64 }, (_, i) => x.subarray(16 * i, 16 * (i + 1)));
  return chooseRange(sketchOf(rows), { method }, { ...target, softmaxOnly });
}

describe('ranges of what only softmaxes read', () => {
  it.each(RANGE_METHODS)('leave out a mask, by %s', (method) => {
    const { low, high } = rangeOf(scores(-10_000, 6), method);
    expect(low).toBeGreaterThan(-60);
    expect(high).toBeLessThan(60);
  });

  it.each([-1000, -65504, -3e38])('leave out a mask of %d, and leave masked elements no weight', (mask) => {
    const x = scores(mask, 6);
    const { low } = rangeOf(x);
    const least = x.reduce((a, v) => (v > mask / 2 ? Math.min(a, v) : a), Infinity);
    // The bin of the least score may begin a sixteenth below it.
    expect(low).toBeLessThanOrEqual(least - 12);
    expect(low).toBeGreaterThan(least * 1.07 - 12.1);
  });

  it('hold everything where others read the value, too', () => {
    expect(rangeOf(scores(-10_000, 6), 'minmax', false).low).toBeLessThan(-9000);
  });

  it('hold everything where there is no mask', () => {
    const x = scores(0, 0, 40);
    expect(rangeOf(x)).toEqual(rangeOf(x, 'minmax', false));
  });

  it('hold scores of samples that are all far below those of others', () => {
    const values = Float32Array.from({ length: 1024 }, (_, i) => (i < 512 ? -500 : 0) + (i % 7));
    expect(rangeOf(values).low).toBe(-500);
  });
});

describe('plans', () => {
  it('know what only softmaxes read', async () => {
    const source = model`
      opset 21
      (float32[N,4] x) => (float32[N,4] y, float32[N,4] other) {
        w: float32[4,4] = random()
        v: float32[4,4] = random()
        a = [first] MatMul(x, w)
        s = [scores] Softmax(a)
        b = [second] MatMul(s, v)
        t = [shared] Softmax(b)
        y = [last] MatMul(t, w)
        other = Relu(b)
      }`;
    const plan = planQuantization(source, await inferValueTypes(source), {
      ...DEFAULT_SETTINGS,
      target: 'integer',
    });
    const only = Object.values(plan.activations).filter((a) => a.softmaxOnly);
    expect(only.map((a) => a.value)).toEqual(['a']);
  });
});
