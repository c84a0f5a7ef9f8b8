import { describe, expect, test } from 'vitest';
import { createRng } from '../../../src/core/index.js';
import {
  allocate,
  convexFront,
  evaluate,
  paretoFront,
  type Allocation,
  type Group,
} from '../../../src/search/allocation/index.js';

function random(seed: number, groups: number, candidates: number): Group[] {
  const rng = createRng(seed);
  return Array.from({ length: groups }, (_, g) => ({
    name: `g${g}`,
    layers: [`g${g}`],
    candidates: Array.from({ length: candidates }, (_, j) => ({
      id: `${j}`,
      amounts: { loss: rng.below(50), size: rng.below(50) },
    })),
  }));
}

function everything(groups: readonly Group[]): Allocation[] {
  const choices = groups.reduce<number[][]>(
    (all, g) => all.flatMap((choice) => g.candidates.map((_, j) => [...choice, j])),
    [[]],
  );
  return choices.map((choice) => evaluate(groups, choice));
}

const point = ({ totals }: Allocation): [number, number] => [totals.size!, totals.loss!];

describe('paretoFront', () => {
  test.each([1, 2, 3, 4])('is the undominated part of all allocations, instance %i', (seed) => {
    const groups = random(seed, 6, 4);
    const all = everything(groups).map(point);
    const undominated = all.filter(([s, l]) => !all.some(([t, m]) => t <= s && m <= l && (t < s || m < l)));
    const expected = [...new Map(undominated.map((p) => [p.join(), p])).values()].sort((a, b) => a[0] - b[0]);
    const { points, exact } = paretoFront(groups, 'loss', 'size');
    expect(exact).toBe(true);
    expect(points.map(point)).toEqual(expected);
  });

  test('says when it was thinned; the points kept are real and close to optimal', () => {
    const groups = random(3, 20, 6);
    const { points, exact } = paretoFront(groups, 'loss', 'size', 50);
    expect(exact).toBe(false);
    for (const thinned of points) {
      expect(evaluate(groups, thinned.choice)).toEqual(thinned);
      const best = allocate({
        groups,
        minimize: 'loss',
        limits: [{ amount: 'size', max: thinned.totals.size! }],
      });
      expect(thinned.totals.loss! - best.totals.loss!).toBeLessThanOrEqual(10);
    }
  });
});

describe('convexFront', () => {
  test.each([1, 2, 3, 4])('is the convex hull of the full front, instance %i', (seed) => {
    const groups = random(seed, 6, 4);
    const front = paretoFront(groups, 'loss', 'size').points.map(point);
    const convex = convexFront(groups, 'loss', 'size').map(point);
    expect(convex[0]).toEqual(front[0]);
    expect(convex[convex.length - 1]).toEqual(front[front.length - 1]);
    // No point of the front lies below a segment of the hull, and every point of the hull is on the front.
    for (let i = 1; i < convex.length; i++) {
      const [[x0, y0], [x1, y1]] = [convex[i - 1]!, convex[i]!];
      for (const [x, y] of front)
        expect((y - y0) * (x1 - x0) - (y1 - y0) * (x - x0)).toBeGreaterThanOrEqual(0);
    }
    for (const p of convex) expect(front).toContainEqual(p);
  });
});
