import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { loadMetric, type MetricBatch } from '../../src/report/metrics.js';
import { tensor, type Tensor } from '../../src/tensor/index.js';

function batch(scores: Tensor, labels: MetricBatch['labels'], first = 0): MetricBatch {
  return { first, count: scores.dims[0] ?? 0, inputs: new Map(), outputs: new Map(), scores, labels };
}

async function score(name: string, ...batches: MetricBatch[]): Promise<number> {
  const state = (await loadMetric(name)).start();
  for (const b of batches) await state.add(b);
  return state.value();
}

const ids = (...values: number[]): Tensor => tensor('int64', [values.length], values);

describe('top1 and top5', () => {
  const scores = tensor(
    'float32',
    [3, 6],
    [...[9, 1, 2, 3, 4, 5], ...[1, 9, 8, 7, 6, 5], ...[0, 1, 2, 3, 4, 5]],
  );

  it('counts rows whose label is among the best', async () => {
    expect(await score('top1', batch(scores, ids(0, 2, 5)))).toBeCloseTo(200 / 3, 9);
    expect(await score('top5', batch(scores, ids(1, 0, 1)))).toBeCloseTo(100 / 3, 9);
  });

  it('adds up over batches of different size', async () => {
    const one = tensor('float32', [1, 6], [0, 0, 1, 0, 0, 0]);
    expect(await score('top1', batch(scores, ids(0, 2, 5)), batch(one, ids(2), 3))).toBe(75);
  });

  it('scores every position of a sequence and leaves out padding', async () => {
    const sequence = tensor('float32', [1, 3, 2], [1, 0, 0, 1, 1, 0]);
    expect(await score('top1', batch(sequence, tensor('int64', [1, 3], [0, 0, -100])))).toBe(50);
  });

  it.each([
    ['labels that are text', ['a', 'b', 'c'], /class numbers/],
    ['too few labels', ids(1, 2), /labels \[2\] of 3 samples do not fit the scores \[3, 6\]/],
    ['a label beyond the classes', ids(0, 1, 6), /label 6 in sample 42, but the scores have 6 classes/],
  ])('refuses %s', async (_, labels, message) => {
    await expect(score('top1', batch(scores, labels, 40))).rejects.toMatchObject({
      code: 'E_LABELS',
      message: expect.stringMatching(message),
    });
  });
});

describe('auc', () => {
  it('ranks the second of two classes, or the only column', async () => {
    const two = tensor('float32', [4, 2], [0.9, 0.1, 0.6, 0.4, 0.65, 0.35, 0.2, 0.8]);
    expect(await score('auc', batch(two, ids(0, 0, 1, 1)))).toBe(75);
    expect(await score('auc', batch(tensor('float32', [4, 1], [0.1, 0.4, 0.35, 0.8]), ids(0, 0, 1, 1)))).toBe(
      75,
    );
    expect(await score('auc', batch(tensor('float32', [4], [0.1, 0.4, 0.35, 0.8]), ids(0, 0, 1, 1)))).toBe(
      75,
    );
  });

  it('averages one class against the rest, without classes that do not occur', async () => {
    const three = tensor(
      'float32',
      [4, 4],
      [...[0.7, 0.2, 0.1, 0], ...[0.1, 0.8, 0.1, 0], ...[0.6, 0.1, 0.3, 0], ...[0.3, 0.3, 0.4, 0]],
    );
    // Every class separates; then class 0 loses 1 of 3 pairs, and class 2 loses one of 4 and ties in another.
    expect(await score('auc', batch(three, ids(0, 1, 2, 2)))).toBeCloseTo(100, 9);
    expect(await score('auc', batch(three, ids(2, 1, 0, 2)))).toBeCloseTo(
      (100 * (2 / 3 + 1 + 2.5 / 4)) / 3,
      9,
    );
  });
});

describe('loadMetric', () => {
  let folder: string;
  beforeAll(() => void (folder = mkdtempSync(join(tmpdir(), 'fxq-metric-'))));
  afterAll(() => rmSync(folder, { recursive: true }));

  const module = (name: string, source: string): string => {
    const path = join(folder, name);
    writeFileSync(path, source);
    return path;
  };

  it('takes a module with state of its own', async () => {
    const path = module(
      'count.mjs',
      `export const name = 'mean-label'; export const better = 'lower';
       export function start() { let sum = 0, n = 0; return {
         add({ labels, count }) { for (const l of labels.data) sum += Number(l); n += count; }, value: () => sum / n }; }`,
    );
    const metric = await loadMetric(path);
    expect(metric).toMatchObject({ name: 'mean-label', unit: '', better: 'lower', needsLabels: true });
    const scores = tensor('float32', [2, 1]);
    expect(await score(path, batch(scores, ids(1, 2)), batch(scores, ids(3, 6)))).toBe(3);
  });

  it('says what an incomplete module lacks', async () => {
    const path = module('wrong.mjs', `export default { name: 'two words', better: 'larger' };`);
    await expect(loadMetric(path)).rejects.toMatchObject({
      code: 'E_DATA',
      message: expect.stringMatching(/name must be a word; start must be a function; better must be/),
    });
  });

  it('suggests the metric that was meant and names a module that is missing', async () => {
    await expect(loadMetric('top3')).rejects.toMatchObject({
      code: 'E_USAGE',
      fix: [expect.stringContaining("'top1'"), expect.anything()],
    });
    await expect(loadMetric('./nowhere.mjs')).rejects.toMatchObject({ code: 'E_FILE' });
  });
});
