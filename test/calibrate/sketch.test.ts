/** Sketches: every number in its bin, and merging that is the same as having seen everything. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { createRng } from '../../src/core/index.js';
import {
  BINS_BY_VALUE,
  SKETCH_BINS,
  addElements,
  addExtremes,
  binBounds,
  binOf,
  emptySketch,
  mergeSketches,
  type TensorStatistics,
} from '../../src/calibrate/index.js';
import { sketchOf } from './sketches.js';

const float32 = fc.float({ noNaN: true, noDefaultInfinity: true });
const samples = fc.array(fc.array(float32, { minLength: 1, maxLength: 20 }), { minLength: 1, maxLength: 6 });

describe('bins', () => {
  it('hold what falls into them', () => {
    fc.assert(
      fc.property(float32, (value) => {
        const { low, high } = binBounds(binOf(value));
        if (Math.abs(value) < 2 ** -130) expect([low, high]).toEqual([0, 0]);
        else expect(low <= value && value <= high).toBe(true);
      }),
    );
  });

  it('are a sixteenth of an octave wide, in order, without gaps', () => {
    // The two bins of zero, in the middle, are points.
    const bounds = BINS_BY_VALUE.map(binBounds).filter(({ low, high }) => low !== high);
    bounds.splice(bounds.length / 2, 0, {
      low: bounds[bounds.length / 2 - 1]!.high,
      high: bounds[bounds.length / 2]!.low,
    });
    for (let i = 1; i < bounds.length; i++) expect(bounds[i]!.low).toBe(bounds[i - 1]!.high);
    for (const value of [1, 1.5, 1000, -3e-20]) {
      const { low, high } = binBounds(binOf(value));
      const octave = 2 ** Math.floor(Math.log2(Math.abs(value)));
      expect((high - low) / octave).toBe(1 / 16);
    }
    expect(new Set(BINS_BY_VALUE).size).toBe(SKETCH_BINS - 32);
  });

  it('count elements and nothing else', () => {
    const sketch = sketchOf([[0, -0, 1, 1.01, -1, 1e-42, 3e38]]);
    expect(sketch.histogram.reduce((a, b) => a + b)).toBe(7);
    expect([binOf(0), binOf(-0), binOf(1), binOf(-1)].map((bin) => sketch.histogram[bin])).toEqual([
      2, 1, 2, 1,
    ]);
    expect([sketch.count, sketch.min, sketch.max]).toEqual([7, -1, Math.fround(3e38)]);
  });

  it('do not hold NaN and infinities, which are counted apart', () => {
    const sketch = sketchOf([[1, NaN, Infinity, 2], [-Infinity]]);
    expect([sketch.count, sketch.nan, sketch.infinite]).toEqual([5, 1, 2]);
    expect(sketch.histogram.reduce((a, b) => a + b)).toBe(2);
    expect([sketch.min, sketch.max]).toEqual([-Infinity, Infinity]);
  });
});

describe('extremes', () => {
  it('are kept by channel and by sample', () => {
    const sketch = emptySketch('x', { axis: 1, size: 2 });
    // Two samples of two rows and two channels.
    const values = Float32Array.from([1, -2, 3, 4, -5, 6, 7, 8]);
    addExtremes(sketch, 'max', values, 2);
    addExtremes(sketch, 'min', values, 2);
    expect(sketch.channels).toEqual({ axis: 1, min: Float32Array.of(-5, -2), max: Float32Array.of(7, 8) });
    expect([sketch.sampleMax[binOf(4)], sketch.sampleMax[binOf(8)]]).toEqual([1, 1]);
    expect([sketch.sampleMin[binOf(-2)], sketch.sampleMin[binOf(-5)]]).toEqual([1, 1]);
  });

  it('do not depend on which zero comes first', () => {
    for (const zeros of [
      [0, -0],
      [-0, 0],
    ]) {
      const sketch = sketchOf([zeros, [...zeros].reverse()]);
      expect([Object.is(sketch.min, 0), Object.is(sketch.max, 0)]).toEqual([true, true]);
    }
  });

  it('of nothing are never a range', () => {
    const { min, max, count } = emptySketch('x');
    expect([min > max, count]).toEqual([true, 0]);
  });
});

describe('merging', () => {
  it('equals observing both, in either order', () => {
    const bytes = (sketch: TensorStatistics): Buffer =>
      Buffer.concat([
        Buffer.from(
          Float64Array.of(sketch.count, sketch.min, sketch.max, sketch.nan, sketch.infinite).buffer,
        ),
        ...[sketch.histogram, sketch.sampleMin, sketch.sampleMax].map((s) => Buffer.from(s.buffer)),
      ]);
    fc.assert(
      fc.property(samples, samples, (a, b) => {
        const both = bytes(sketchOf([...a, ...b]));
        expect(bytes(mergeSketches([sketchOf(a), sketchOf(b)], 'x')).equals(both)).toBe(true);
        expect(bytes(mergeSketches([sketchOf(b), sketchOf(a)], 'x')).equals(both)).toBe(true);
      }),
    );
  });

  it('sees a difference of one element', () => {
    const a = [[1, 2, 3]];
    const merged = mergeSketches([sketchOf(a), sketchOf([[4, 5]])], 'x');
    expect(merged).not.toEqual(sketchOf([...a, [4, 5, 5]]));
    expect(merged).not.toEqual(sketchOf([...a, [4, 6]]));
  });

  it('drops channels that differ', () => {
    const parts = [2, 3].map((size) => emptySketch('x', { axis: 1, size }));
    for (const part of parts) addElements(part, Float32Array.of(1));
    expect(mergeSketches(parts, 'x')).not.toHaveProperty('channels');
    expect(mergeSketches([parts[0]!, parts[0]!], 'x')).toHaveProperty('channels');
  });
});

it('fills the histogram at a few nanoseconds an element', () => {
  const rng = createRng(5);
  const elements = Float32Array.from({ length: 200_000 }, () => rng.normal());
  const sketch = emptySketch('x');
  for (let i = 0; i < 10; i++) addElements(sketch, elements);
  expect(sketch.count).toBe(2_000_000);
  // About 1.5 ns here; the bound only catches a fall out of compiled code.
  const start = performance.now();
  for (let i = 0; i < 10; i++) addElements(sketch, elements);
  expect((performance.now() - start) / 2).toBeLessThan(200);
});
