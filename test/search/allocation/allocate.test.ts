import { describe, expect, test } from 'vitest';
import fc from 'fast-check';
import { createRng, FxqError } from '../../../src/core/index.js';
import {
  allocate,
  evaluate,
  keepsLimits,
  tieGroups,
  type Allocation,
  type AllocationProblem,
  type Group,
} from '../../../src/search/allocation/index.js';
import { ceilingOf } from '../../../src/search/allocation/problem.js';

/** Tries everything. */
function bruteForce({ groups, minimize, limits }: AllocationProblem): Allocation | undefined {
  const amounts = [minimize, ...limits.map((l) => l.amount)];
  const choice = groups.map(() => 0);
  let best: { value: number; choice: number[] } | undefined;
  const visit = (g: number, sums: readonly number[]): void => {
    if (g === groups.length) {
      const value = sums[0]!;
      const fitting = limits.every((l, k) => sums[k + 1]! <= ceilingOf(l.max));
      if (fitting && (best === undefined || value < best.value)) best = { value, choice: [...choice] };
      return;
    }
    groups[g]!.candidates.forEach((candidate, j) => {
      choice[g] = j;
      visit(
        g + 1,
        sums.map((sum, k) => sum + candidate.amounts[amounts[k]!]!),
      );
    });
  };
  visit(
    0,
    amounts.map(() => 0),
  );
  return best && evaluate(groups, best.choice);
}

/** A network-like instance: losses fall by about four a bit, sizes span two decades. */
function instance(
  seed: number,
  groups: number,
  widths: readonly number[],
  amounts: readonly string[],
): Group[] {
  const rng = createRng(seed);
  return Array.from({ length: groups }, (_, g) => {
    const size = Math.floor(1000 * Math.exp(5 * rng.uniform()));
    const importance = Math.exp(5 * rng.uniform());
    const work = amounts.map(() => Math.exp(4 * rng.uniform()));
    const candidates = widths.map((bits) => ({
      id: `int${bits}`,
      amounts: {
        loss: importance * 4 ** -bits * (0.7 + 0.6 * rng.uniform()),
        size: size * bits,
        ...Object.fromEntries(
          amounts.map((name, k) => [name, work[k]! * bits * (0.8 + 0.4 * rng.uniform())]),
        ),
      },
    }));
    return { name: `layer${g}`, layers: [`layer${g}`], candidates };
  });
}

function between(groups: readonly Group[], amount: string, share: number): number {
  const values = groups.map((g) => g.candidates.map((c) => c.amounts[amount]!));
  const low = values.reduce((sum, v) => sum + Math.min(...v), 0);
  const high = values.reduce((sum, v) => sum + Math.max(...v), 0);
  return low + share * (high - low);
}

describe('allocate', () => {
  test.each(['integer', 'dynamic'] as const)('%s equals brute force on whole and real amounts', (method) => {
    const amount = fc.oneof(
      fc.nat(20),
      fc.nat(1000).map((n) => n / 7),
    );
    const group = fc.array(fc.record({ loss: amount, size: amount, bops: amount }), {
      minLength: 1,
      maxLength: 4,
    });
    fc.assert(
      fc.property(
        fc.array(group, { minLength: 1, maxLength: 6 }),
        fc.constantFrom(['size'], ['size', 'bops'], ['loss']),
        fc.nat(8).map((n) => n / 8),
        (rows, limited, share) => {
          const groups = rows.map((candidates, g) => ({
            name: `g${g}`,
            layers: [`g${g}`],
            candidates: candidates.map((amounts, j) => ({ id: `${j}`, amounts })),
          }));
          const minimize = limited[0] === 'loss' ? 'size' : 'loss';
          const limits = limited.map((name) => ({ amount: name, max: between(groups, name, share) }));
          const problem = { groups, minimize, limits };
          const best = bruteForce(problem);
          if (best === undefined) {
            expect(() => allocate(problem, method)).toThrowError(
              expect.objectContaining({ code: 'E_BUDGET' }),
            );
            return;
          }
          const found = allocate(problem, method);
          expect(keepsLimits(problem, found)).toBe(true);
          expect(found.totals[minimize]! - best.totals[minimize]!).toBeLessThanOrEqual(1e-9);
        },
      ),
      { numRuns: 300, seed: 7 },
    );
  });

  test.each([1, 2, 3])('equals brute force on twelve layers, instance %i', (seed) => {
    for (const share of [0.1, 0.3, 0.5, 0.8]) {
      const groups = instance(seed, 12, [2, 4, 8], ['bops']);
      const limits = ['size', 'bops'].map((amount) => ({ amount, max: between(groups, amount, share) }));
      const problem = { groups, minimize: 'loss', limits };
      const best = bruteForce(problem)!;
      expect(allocate(problem, 'integer').choice).toEqual(best.choice);
      expect(allocate(problem, 'dynamic').choice).toEqual(best.choice);
    }
  });

  test('sixty layers with eight candidates take less than two seconds, and both exact methods agree', () => {
    const groups = instance(5, 60, [2, 3, 4, 5, 6, 7, 8, 16], ['bops', 'latency']);
    for (const amounts of [['size'], ['size', 'bops'], ['size', 'bops', 'latency']]) {
      const problem = {
        groups,
        minimize: 'loss',
        limits: amounts.map((amount) => ({ amount, max: between(groups, amount, 0.25) })),
      };
      const from = performance.now();
      const found = allocate(problem);
      expect(performance.now() - from).toBeLessThan(2000);
      expect(found.method).toBe('integer');
      const loss = found.totals.loss!;
      if (amounts.length < 3) expect(allocate(problem, 'dynamic').totals.loss).toBeCloseTo(loss, 10);
      expect(allocate(problem, 'greedy').totals.loss!).toBeGreaterThanOrEqual(loss);
      expect(allocate(problem).choice).toEqual(found.choice);
    }
  });

  test('minimizes size under a loss floor just as loss under a size budget', () => {
    const groups = instance(9, 10, [2, 4, 8], []);
    const max = between(groups, 'loss', 0.02);
    const problem = { groups, minimize: 'size', limits: [{ amount: 'loss', max }] };
    const found = allocate(problem);
    expect(found.totals.loss).toBeLessThanOrEqual(max);
    expect(found.totals.size).toBe(bruteForce(problem)!.totals.size);
  });

  test('says which limit cannot be kept, and the least it could be', () => {
    const groups = instance(1, 3, [4, 8], []);
    const least = between(groups, 'size', 0);
    const attempt = (): unknown =>
      allocate({ groups, minimize: 'loss', limits: [{ amount: 'size', max: least - 1 }] });
    expect(attempt).toThrowError(`no assignment keeps size ≤ ${least - 1}: the least possible is ${least}`);
    expect(attempt).toThrowError(FxqError);
    expect(allocate({ groups, minimize: 'loss', limits: [{ amount: 'size', max: least }] }).choice).toEqual([
      0, 0, 0,
    ]);
  });

  test('prices a limit: one byte more is worth about that much', () => {
    const groups = instance(4, 40, [2, 3, 4, 5, 6, 7, 8], []);
    const at = (share: number) =>
      allocate({
        groups,
        minimize: 'loss',
        limits: [{ amount: 'size', max: between(groups, 'size', share) }],
      });
    const [less, more] = [at(0.29), at(0.31)];
    const slope = (less.totals.loss! - more.totals.loss!) / (more.totals.size! - less.totals.size!);
    expect(at(0.3).prices.size! / slope).toBeCloseTo(1, 0);
    expect(at(1).prices.size).toBe(0);
  });
});

describe('tieGroups', () => {
  const group = (name: string, ...ids: string[]): Group => ({
    name,
    layers: [name],
    candidates: ids.map((id, i) => ({ id, amounts: { size: i + 1 } })),
  });

  test('joins overlapping ties, keeps common candidates and adds their amounts', () => {
    const tied = tieGroups(
      [group('a', 'x', 'y'), group('b', 'y', 'z'), group('c', 'z', 'y'), group('d', 'x')],
      [
        ['a', 'b'],
        ['b', 'c'],
      ],
    );
    expect(tied.map((g) => g.name)).toEqual(['a+b+c', 'd']);
    expect(tied[0]).toEqual({
      name: 'a+b+c',
      layers: ['a', 'b', 'c'],
      candidates: [{ id: 'y', amounts: { size: 2 + 1 + 2 } }],
    });
  });

  test('refuses a tie without a common candidate', () => {
    expect(() => tieGroups([group('a', 'x'), group('b', 'y')], [['a', 'b']])).toThrowError('a, b must agree');
  });
});
