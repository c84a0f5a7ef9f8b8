import { describe, expect, it } from 'vitest';
import { didYouMean, editDistance, nearestNames } from '../../src/core/index.js';

describe('nearest names', () => {
  it.each([
    ['kitten', 'sitting', 3],
    ['', 'abc', 3],
    ['same', 'same', 0],
  ])('%s and %s differ by %d', (a, b, distance) => expect(editDistance(a, b)).toBe(distance));

  it('come nearest first, in any case, and only when near', () => {
    expect(nearestNames('preset', ['presets', 'reset', 'output', 'PRESET'])).toEqual([
      'PRESET',
      'presets',
      'reset',
    ]);
    expect(nearestNames('conv1', ['/model/conv1/Conv', 'gemm'])).toEqual(['/model/conv1/Conv']);
    expect(nearestNames('xyz', ['calibration'])).toEqual([]);
  });

  it('make a sentence', () => {
    expect(didYouMean('sampels', ['samples', 'seed'])).toBe("Did you mean 'samples'?");
    expect(didYouMean('qqq', ['samples'])).toBe('');
  });
});
