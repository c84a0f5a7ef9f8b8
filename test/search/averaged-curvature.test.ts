import { describe, expect, it } from 'vitest';
import fc from 'fast-check';
import {
  averageCurvature,
  curvatureLosses,
  hasAveragedCurvature,
  sampleLosses,
} from '../../src/search/index.js';
import { createRng } from '../../src/core/index.js';
import { softmax, tensor, type Tensor } from '../../src/tensor/index.js';

const scores = (rows: readonly (readonly number[])[]): Tensor =>
  tensor('float32', [rows.length, rows[0]?.length ?? 0], rows.flat());
const mean = (values: ArrayLike<number>): number =>
  Array.from(values).reduce((a, b) => a + b, 0) / values.length;

describe('averaged curvature', () => {
  it('gives the KL divergence of a small change where all samples are alike', () => {
    const row = [1, 0.2, -0.5];
    const curvature = averageCurvature('kl', [scores([row, row])]);
    const moved = scores([row.map((s, i) => s + 1e-2 * [1, -2, 0.5][i]!)]);
    const [loss] = curvatureLosses('kl', curvature, scores([row]), moved);
    expect(loss! / sampleLosses('kl', scores([row]), moved)[0]!).toBeCloseTo(1, 1);
  });

  it('is nothing for a shift of all scores, and never negative', () => {
    const rows = fc.array(
      fc.array(fc.double({ min: -5, max: 5, noNaN: true }), { minLength: 4, maxLength: 4 }),
      {
        minLength: 1,
        maxLength: 6,
      },
    );
    fc.assert(
      fc.property(rows, rows, fc.double({ min: -3, max: 3, noNaN: true }), (a, b, shift) => {
        const curvature = averageCurvature('kl', [scores(a)]);
        const shifted = scores(a.map((row) => row.map((s) => s + shift)));
        for (const loss of curvatureLosses('kl', curvature, scores(a), shifted))
          expect(loss).toBeCloseTo(0, 4);
        const n = Math.min(a.length, b.length);
        const losses = curvatureLosses('kl', curvature, scores(a.slice(0, n)), scores(b.slice(0, n)));
        expect(Math.min(...losses)).toBeGreaterThan(-1e-9);
      }),
    );
  });

  it('tells on few samples what the KL divergence tells on many', () => {
    // A network that is sure of most samples, and two models, one with errors a tenth larger.
    const rng = createRng(5);
    const sample = (): number[] => {
      const margin = rng.uniform() < 0.85 ? 12 : 1;
      return [margin, 0, 0].map((s) => s + 0.3 * rng.normal());
    };
    const noisy = (rows: readonly number[][], size: number): Tensor =>
      scores(rows.map((row) => row.map((s) => s + size * rng.normal())));
    const trials = 200;
    const right = { kl: 0, averaged: 0 };
    for (let t = 0; t < trials; t++) {
      const rows = Array.from({ length: 64 }, sample);
      const reference = scores(rows);
      const [better, worse] = [noisy(rows, 0.3), noisy(rows, 0.33)];
      const curvature = averageCurvature('kl', [reference]);
      const averaged = (model: Tensor): number => mean(curvatureLosses('kl', curvature, reference, model));
      const kl = (model: Tensor): number => mean(sampleLosses('kl', reference, model));
      if (averaged(better) < averaged(worse)) right.averaged++;
      if (kl(better) < kl(worse)) right.kl++;
    }
    expect(right.averaged).toBeGreaterThan(right.kl + 0.1 * trials);
  });

  it('is the same for the shares that scores give', () => {
    const rows = [
      [2, 0, -1],
      [0, 1, 0.5],
    ];
    const moved = rows.map((row) => row.map((s, i) => s + 0.1 * i));
    const shares = (all: readonly (readonly number[])[]): Tensor =>
      scores(all.map((row) => Array.from(softmax(Float32Array.from(row)))));
    const curvature = averageCurvature('kl', [scores(rows)]);
    const ofScores = curvatureLosses('kl', curvature, scores(rows), scores(moved));
    const ofShares = curvatureLosses(
      'probability-kl',
      averageCurvature('probability-kl', [shares(rows)]),
      shares(rows),
      shares(moved),
    );
    ofScores.forEach((loss, i) => expect(ofShares[i]).toBeCloseTo(loss, 5));
  });

  it('is for one row of scores a sample', () => {
    expect(hasAveragedCurvature('kl', scores([[1, 2]]))).toBe(true);
    expect(hasAveragedCurvature('probability-kl', scores([[0.5, 0.5]]))).toBe(true);
    expect(hasAveragedCurvature('relative', scores([[1, 2]]))).toBe(false);
    expect(hasAveragedCurvature('kl', tensor('float32', [1, 2, 2], [1, 2, 3, 4]))).toBe(false);
    expect(hasAveragedCurvature('kl', tensor('float32', [1, 2000], new Float32Array(2000)))).toBe(false);
  });
});
