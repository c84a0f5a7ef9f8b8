/** Random numbers inside a program. */
import { describe, expect, it } from 'vitest';
import { createProgram, loop, runProgram, uniform } from '../../src/program/index.js';

/** `steps` draws of `size` numbers inside a loop. */
async function draw(seed: number, steps: number, size: number, threads = 1): Promise<Float32Array> {
  const p = createProgram();
  const { record } = loop(p, p.scalar(0), steps, (b, x, iteration) => ({
    state: x,
    record: uniform(b, b.full([size], 0), iteration, seed),
  }));
  const { record: t } = await runProgram(p, { record }, {}, { threads });
  return t.data as Float32Array;
}

/** The hash written in JavaScript. */
function reference(seed: number, step: number, index: number): number {
  const mix = (x: number): number => {
    let h = x >>> 0;
    h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
    h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
    return (h ^ (h >>> 16)) >>> 0;
  };
  return (mix(mix(index) + mix(step + mix(seed))) >>> 8) / 2 ** 24;
}

describe('uniform', () => {
  it('is the hash of seed, step and element', async () => {
    const values = await draw(7, 3, 5);
    expect(Array.from(values)).toEqual(
      [...Array(15).keys()].map((i) => reference(7, Math.floor(i / 5), i % 5)),
    );
  });
  it('gives the same numbers with one thread and two', async () => {
    expect(await draw(1, 4, 1000, 2)).toEqual(await draw(1, 4, 1000, 1));
  });
  it('has the moments of a uniform distribution, and no correlation between steps, elements and seeds', async () => {
    const n = 4000;
    const [a, b] = [await draw(0, 2, n), await draw(1, 2, n)];
    const mean = (f: (i: number) => number) => [...Array(n).keys()].reduce((s, i) => s + f(i), 0) / n;
    const x = (i: number) => (a[i] ?? 0) - 0.5;
    // Standard errors: 1/√(12n) = 0.0046 of the mean, 0.0012 of the variance, 1/(12√n) = 0.0013 of a product.
    expect(Math.abs(mean(x))).toBeLessThan(0.018);
    expect(Math.abs(mean((i) => x(i) ** 2) - 1 / 12)).toBeLessThan(0.005);
    expect(Math.abs(mean((i) => x(i) * x((i + 1) % n)))).toBeLessThan(0.0055);
    expect(Math.abs(mean((i) => x(i) * ((a[i + n] ?? 0) - 0.5)))).toBeLessThan(0.0055);
    expect(Math.abs(mean((i) => x(i) * ((b[i] ?? 0) - 0.5)))).toBeLessThan(0.0055);
  });
});
