import { describe, expect, it } from 'vitest';
import { createRng } from '../../src/core/index.js';

const draw = (n: number, next: () => number): number[] => Array.from({ length: n }, next);

describe('createRng', () => {
  it('repeats itself for the same seed only', () => {
    expect(draw(5, createRng(7).bits)).toEqual(draw(5, createRng(7).bits));
    expect(draw(5, createRng(7).bits)).not.toEqual(draw(5, createRng(8).bits));
  });

  it('gives the same numbers in every version of fxq', () =>
    expect(draw(3, createRng(0).bits)).toMatchInlineSnapshot(`
      [
        2899526011,
        769844623,
        220372281,
      ]
    `));

  it('forks by name, whatever was drawn before', () => {
    const used = createRng(1);
    used.bits();
    expect(used.fork('a').bits()).toBe(createRng(1).fork('a').bits());
    expect(createRng(1).fork('a').bits()).not.toBe(createRng(1).fork('b').bits());
  });

  it('is uniform and normal', () => {
    const n = 20_000;
    const mean = (values: number[]): number => values.reduce((a, b) => a + b, 0) / n;
    const uniform = draw(n, createRng(3).uniform);
    const normal = draw(n, createRng(4).normal);
    // Four standard errors of each mean.
    expect(Math.abs(mean(uniform) - 0.5)).toBeLessThan((4 * Math.sqrt(1 / 12)) / Math.sqrt(n));
    expect(Math.abs(mean(uniform.map((u) => u * u)) - 1 / 3)).toBeLessThan(
      (4 * Math.sqrt(4 / 45)) / Math.sqrt(n),
    );
    expect(Math.abs(mean(normal))).toBeLessThan(4 / Math.sqrt(n));
    expect(Math.abs(mean(normal.map((x) => x * x)) - 1)).toBeLessThan((4 * Math.sqrt(2)) / Math.sqrt(n));
    expect(Math.min(...uniform)).toBeGreaterThanOrEqual(0);
    expect(Math.max(...uniform)).toBeLessThan(1);
  });

  it('shuffles and samples without repetition', () => {
    const items = draw(
      50,
      (() => {
        let i = 0;
        return () => i++;
      })(),
    );
    const shuffled = createRng(5).shuffle([...items]);
    expect(shuffled).not.toEqual(items);
    expect([...shuffled].sort((a, b) => a - b)).toEqual(items);
    const sample = createRng(6).sample(50, 10);
    expect(new Set(sample).size).toBe(10);
    expect(sample).toEqual([...sample].sort((a, b) => a - b));
    expect(Math.max(...draw(100, () => createRng(1).below(3)))).toBeLessThan(3);
  });
});
