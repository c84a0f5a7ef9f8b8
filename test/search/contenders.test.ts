import { describe, expect, it } from 'vitest';
import { uniformWithin, type Group } from '../../src/search/index.js';

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
