import { describe, expect, it } from 'vitest';
import fc from 'fast-check';
import { barChart, histogram, lineChart, niceTicks } from '../../src/report/svg.js';

const numbersOf = (svg: string, attribute: string): number[] =>
  [...svg.matchAll(new RegExp(` ${attribute}="([^"]*)"`, 'g'))].map(([, text]) => Number(text));

describe('charts', () => {
  it('draw every step of a histogram that holds anything, fractions of a count too', () => {
    const svg = histogram({ title: 't', counts: [1000, 12, 0.01, 0.4, 0, 0.9], low: 0, high: 6 });
    const heights = numbersOf(svg, 'height');
    expect(heights).toHaveLength(5);
    expect(Math.min(...heights)).toBeGreaterThanOrEqual(0);
    expect(heights[0]).toBeGreaterThan(heights[1] ?? Infinity);
    expect(heights[3]).toBeGreaterThan(heights[2] ?? Infinity);
  });

  it('stay inside their frame whatever the numbers', () => {
    const values = fc.array(fc.double({ min: -1e6, max: 1e6, noNaN: true }), { minLength: 1, maxLength: 30 });
    fc.assert(
      fc.property(values, (numbers) => {
        const labels = numbers.map((_, i) => `layer${i}`);
        const options = { title: 't', labels, series: [{ name: 's', values: numbers }], unit: 'dB' };
        const counts = numbers.map((n) => Math.abs(n) % 1000);
        const charts = [
          barChart(options),
          lineChart(options),
          histogram({ title: 't', counts, low: -1, high: 2, range: { low: -0.5, high: 3 } }),
        ];
        for (const svg of charts) {
          expect(svg).not.toMatch(/NaN|Infinity|undefined/);
          for (const height of numbersOf(svg, 'height')) expect(height).toBeGreaterThanOrEqual(0);
          for (const width of numbersOf(svg, 'width')) expect(width).toBeGreaterThanOrEqual(0);
          for (const y of [...numbersOf(svg, 'y'), ...numbersOf(svg, 'cy')]) {
            expect(y).toBeGreaterThanOrEqual(0);
            expect(y).toBeLessThanOrEqual(260);
          }
        }
      }),
    );
  });

  it('label axes with round numbers', () => {
    expect(niceTicks(0, 9.7, 5)).toEqual([0, 2, 4, 6, 8]);
    expect(niceTicks(3, 3, 5)).toEqual([3]);
  });
});
