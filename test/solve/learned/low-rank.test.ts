/** Low-rank rounding over its rank and over what is kept of w / s₀ (LR-QAT, arXiv 2406.06385). */
import { beforeAll, describe, expect, it } from 'vitest';
import { createRng } from '../../../src/core/index.js';
import { lowRank, type LowRankOptions } from '../../../src/solve/learned/low-rank.js';
import { toyLayer } from '../sparsity/toy-layer.js';

const context = { rng: createRng(0), threads: 1 };
const SEEDS = [1, 2, 3];

interface MeanErrors {
  readonly nearest: number;
  readonly fit: number;
  readonly heldOut: number;
}

/** Geometric means over several layers. */
async function errorsOf(bits: number, options: Partial<LowRankOptions>): Promise<MeanErrors> {
  const logs = { nearest: 0, fit: 0, heldOut: 0 };
  for (const seed of SEEDS) {
    const { error } = await lowRank(toyLayer(seed, { bits }), { iterations: 1000, ...options }, context);
    logs.nearest += Math.log(error.nearest);
    logs.fit += Math.log(error.fit);
    logs.heldOut += Math.log(error.heldOut ?? NaN);
  }
  const mean = (sum: number): number => Math.exp(sum / SEEDS.length);
  return { nearest: mean(logs.nearest), fit: mean(logs.fit), heldOut: mean(logs.heldOut) };
}

describe.each([4, 3])('low-rank rounding at %i bits', (bits) => {
  const by = new Map<number, MeanErrors>();
  const of = (rank: number): MeanErrors => by.get(rank) ?? { nearest: NaN, fit: NaN, heldOut: NaN };
  beforeAll(async () => {
    for (const rank of [1, 4, 16]) by.set(rank, await errorsOf(bits, { rank }));
  });

  it('does better with every rank, on samples seen and not seen', () => {
    expect(of(1).fit).toBeLessThan(of(1).nearest);
    for (const [less, more] of [
      [1, 4],
      [4, 16],
    ] as const) {
      expect(of(more).fit).toBeLessThan(of(less).fit);
      expect(of(more).heldOut).toBeLessThan(of(less).heldOut);
    }
  });

  it('needs four fractional bits of w / s₀, not all of float32; without any it does worse', async () => {
    const four = await errorsOf(bits, { rank: 16, fractionBits: 4 });
    const none = await errorsOf(bits, { rank: 16, fractionBits: 0 });
    expect(four.fit).toBeLessThan(1.1 * of(16).fit);
    expect(none.fit).toBeGreaterThan(1.1 * of(16).fit);
  });
});
