import { describe, expect, test } from 'vitest';
import { createContext } from '../../src/core/index.js';
import {
  HARDWARE,
  allocate,
  allocateVerified,
  cheapestWithin,
  convexFront,
  type Assignment,
  type Group,
  type LayerCandidate,
  type SearchGroup,
  type SearchSpace,
} from '../../src/search/index.js';

const ctx = createContext();
const candidates: LayerCandidate[] = ['int2', 'int4', 'int8'].map((weights) => ({
  weights,
  activations: 'uint8',
  granularity: 'channel',
  solver: 'nearest',
}));
const names = ['a', 'b', 'c', 'd'];
const space: SearchSpace = {
  groups: names.map((name): SearchGroup => ({ name, layers: [{ node: name } as never], candidates })),
  hardware: HARDWARE.generic,
  costs: ['size'],
  rest: {},
};
const ALONE = [
  [5, 1, 0.1],
  [4, 1.1, 0.1],
  [6, 1.2, 0.1],
  [3, 0.9, 0.1],
];
const groups: Group[] = names.map((name, g) => ({
  name,
  layers: [name],
  candidates: candidates.map((c, i) => ({
    id: c.weights,
    amounts: { loss: ALONE[g]![i]!, size: [2, 4, 8][i]! },
  })),
}));
const widths = (assignment: Assignment): number[] =>
  names.map((n) => candidates.findIndex((c) => c === assignment.get(n)));

/** Losses add up, except that a and b hurt together unless one of them is wide. */
const truth = (choice: readonly number[]): number =>
  choice.reduce((sum, c, g) => sum + ALONE[g]![c]!, 0) + (choice[0]! < 2 && choice[1]! < 2 ? 5 : 0);

describe('allocateVerified', () => {
  const problem = { groups, minimize: 'loss', limits: [{ amount: 'size', max: 20 }] };
  const judge = (assignment: Assignment) => Promise.resolve(truth(widths(assignment)));
  const remeasure = (assignment: Assignment) => {
    const now = widths(assignment);
    return Promise.resolve(
      names.map((_, g) => candidates.map((_, c) => truth(now.map((own, k) => (k === g ? c : own))))),
    );
  };

  test('corrects what the additive model got wrong, inside the budget', async () => {
    const plain = allocate(problem);
    const found = await allocateVerified(space, problem, judge, remeasure, 3, ctx);
    expect(truth(plain.choice)).toBeGreaterThan(found.measured);
    expect(found.measured).toBe(truth(found.choice));
    expect(found.totals.size).toBeLessThanOrEqual(20);
    expect(found.predicted).toBeCloseTo(
      found.choice.reduce((sum, c, g) => sum + ALONE[g]![c]!, 0),
      10,
    );
    // Exhaustively the best there is.
    const all = Array.from({ length: 81 }, (_, i) => [
      i % 3,
      Math.floor(i / 3) % 3,
      Math.floor(i / 9) % 3,
      Math.floor(i / 27),
    ]);
    const allowed = all.filter((c) => c.reduce((sum, x) => sum + [2, 4, 8][x]!, 0) <= 20);
    expect(found.measured).toBeCloseTo(Math.min(...allowed.map(truth)), 10);
  });

  test('keeps the allocation where the model is right, after one real run', async () => {
    let runs = 0;
    const additive = (assignment: Assignment) => {
      runs++;
      return Promise.resolve(widths(assignment).reduce((sum, c, g) => sum + ALONE[g]![c]!, 0));
    };
    const same = () => Promise.resolve(ALONE);
    const found = await allocateVerified(space, problem, additive, same, 3, ctx);
    expect(found.choice).toEqual(allocate(problem).choice);
    expect(found.measured).toBeCloseTo(found.predicted, 10);
    expect(runs).toBe(1);
  });
});

describe('cheapestWithin', () => {
  const front = convexFront(groups, 'loss', 'size');
  const judge = (assignment: Assignment) => Promise.resolve(truth(widths(assignment)));

  test.each([0.5, 1.5, 4, 12, 30])('finds the cheapest point of the front within %f', async (floor) => {
    const found = await cheapestWithin(space, front, floor, judge, front.length, ctx);
    const first = front.find((p) => truth(p.choice) <= floor)!;
    expect(found.measured).toBeLessThanOrEqual(floor);
    expect(found.totals.size).toBe(first.totals.size);
  });

  test('says that nothing reaches the floor', async () => {
    await expect(cheapestWithin(space, front, 0.3, judge, 2, ctx)).rejects.toMatchObject({
      code: 'E_BUDGET',
      exit: 1,
      message: 'no assignment keeps the loss within 0.3: the best candidates lose 0.400',
    });
  });
});
