import { describe, expect, it } from 'vitest';
import {
  allocate,
  bestBeyondChance,
  combineLosses,
  uniformWithin,
  type Group,
} from '../../src/search/index.js';

const offers = (name: string, losses: Readonly<Record<string, number>>): Group => ({
  name,
  layers: [name],
  candidates: Object.entries(losses).map(([id, loss]) => ({
    id,
    amounts: { loss, size: Number(id.slice(3)) },
  })),
});

const groups = [
  offers('a', { int2: 5, int4: 1, int8: 0.1 }),
  offers('b', { int8: 0.1, int4: 2, int2: 4 }),
  // Rules of the user leave no choice here, and the rest of the model has none.
  offers('fixed', { int8: 0.3 }),
];
const within = (max: number): readonly string[] | undefined =>
  uniformWithin({ groups, minimize: 'loss', limits: [{ amount: 'size', max }] })?.choice.map(
    (c, g) => groups[g]!.candidates[c]!.id,
  );

describe('uniformWithin', () => {
  it('gives all free groups the one candidate that loses least within the limits', () => {
    expect(within(24)).toEqual(['int8', 'int8', 'int8']);
    expect(within(23)).toEqual(['int4', 'int4', 'int8']);
    expect(within(15)).toEqual(['int2', 'int2', 'int8']);
  });

  it('is nothing where no candidate keeps the limits, or is offered to all', () => {
    expect(within(11)).toBeUndefined();
    const apart = [offers('a', { int2: 1, int4: 0 }), offers('b', { int3: 1, int5: 0 })];
    expect(uniformWithin({ groups: apart, minimize: 'loss', limits: [] })).toBeUndefined();
  });
});

describe('combineLosses', () => {
  const others = [
    offers('a', { int2: 500, int4: 400, int8: 1 }),
    offers('b', { int8: 1, int4: 200, int2: 900 }),
    offers('fixed', { int8: 0 }),
  ];
  const losses = (of: readonly Group[]): number[][] =>
    of.map((g) => g.candidates.map((c) => c.amounts.loss ?? NaN));

  it('is the geometric mean, candidate by candidate; costs stay', () => {
    const combined = combineLosses(groups, others);
    const [first] = losses(combined);
    expect(first?.[0]).toBeCloseTo(50, 9);
    expect(first?.[1]).toBeCloseTo(20, 9);
    expect(first?.[2]).toBeCloseTo(Math.sqrt(0.1), 9);
    expect(combined.map((g) => g.candidates.map((c) => c.amounts.size))).toEqual(
      groups.map((g) => g.candidates.map((c) => c.amounts.size)),
    );
  });

  it('gives the same allocation whatever unit either estimate has, and survives losses of zero', () => {
    const scaled = others.map((g) => ({
      ...g,
      candidates: g.candidates.map((c) => ({
        ...c,
        amounts: { ...c.amounts, loss: 1e6 * (c.amounts.loss ?? 0) },
      })),
    }));
    const choices = [others, scaled].map(
      (of) =>
        allocate({
          groups: combineLosses(groups, of),
          minimize: 'loss',
          limits: [{ amount: 'size', max: 20 }],
        }).choice,
    );
    expect(choices[0]).toEqual(choices[1]);
    expect(losses(combineLosses(groups, others)).flat().every(Number.isFinite)).toBe(true);
  });
});

describe('bestBeyondChance', () => {
  const losses = [1, 2, 3, 4];

  it('takes a model that is better on every sample, and keeps the first among equals', () => {
    expect(bestBeyondChance([losses, losses.map((l) => l - 0.1)])).toBe(1);
    expect(bestBeyondChance([losses, losses])).toBe(0);
  });

  it('keeps what came first where one sample makes the difference', () => {
    expect(bestBeyondChance([losses, [1.1, 2.1, 3.1, 3.5]])).toBe(0);
  });

  it('compares with the best so far', () => {
    expect(bestBeyondChance([losses, losses.map((l) => l / 2), losses.map((l) => l - 0.1)])).toBe(1);
  });
});
