import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import {
  HARDWARE,
  cached,
  candidatesOf,
  openCache,
  paretoPoint,
  paretoTable,
  pointRules,
  readPareto,
  writePareto,
  type LayerCandidate,
  type ParetoFile,
  type SearchSpace,
} from '../../src/search/index.js';

let folder = '';
beforeAll(() => (folder = mkdtempSync(join(tmpdir(), 'fxq-pareto-'))));
afterAll(() => rmSync(folder, { recursive: true }));

const candidates: LayerCandidate[] = ['int4', 'int8'].map((weights) => ({
  weights,
  activations: 'uint8',
  granularity: 'channel',
  solver: 'nearest',
}));
const space: SearchSpace = {
  groups: ['a', 'b'].map((name) => ({ name, layers: [{ node: name } as never], candidates })),
  hardware: HARDWARE.generic,
  costs: ['size'],
  rest: {},
};
const file: ParetoFile = {
  version: 1,
  model: 'm',
  data: 'd',
  loss: 'kl',
  sensitivity: 'measured',
  hardware: 'generic',
  results: 'uint8',
  references: { float: { size: 400 }, int8: { size: 100 } },
  candidates: candidatesOf(space),
  layers: {},
  points: [
    paretoPoint('p0', space, candidates, { choice: [0, 0], totals: { loss: 0.5, size: 50 } }),
    paretoPoint('p1', space, candidates, { choice: [1, 0], totals: { loss: 0.25, size: 75 }, measured: 0.3 }),
  ],
};

describe('the Pareto file', () => {
  test('comes back as written, the same bytes every time', () => {
    const path = join(folder, 'front.json');
    writePareto(path, file);
    const bytes = readFileSync(path);
    expect(readPareto(path)).toEqual(file);
    writePareto(path, readPareto(path));
    expect(readFileSync(path).equals(bytes)).toBe(true);
  });

  test('gives the rules of a point, or the names there are', () => {
    expect(pointRules(file, 'p1')).toEqual([
      {
        match: { node: 'a' },
        weights: 'int8',
        activations: 'uint8',
        results: 'uint8',
        granularity: 'channel',
        solver: 'nearest',
      },
      {
        match: { node: 'b' },
        weights: 'int4',
        activations: 'uint8',
        results: 'uint8',
        granularity: 'channel',
        solver: 'nearest',
      },
    ]);
    expect(() => pointRules(file, 'p7')).toThrowError("no point 'p7'");
  });

  test('is a table', () => {
    expect(
      paretoTable(file)
        .split('\n')
        .map((line) => line.trim().split(/\s{2,}/)),
    ).toEqual([
      ['point', 'kl (predicted)', '(simulated)', '(written)', 'size', 'of int8'],
      ['p0', '0.5000', '50.00', '50.0 %'],
      ['p1', '0.2500', '0.3000', '75.00', '75.0 %'],
    ]);
  });

  test.each(['{', '{"version": 2}', '{"version": 1}', '[]'])('refuses %s', (content) => {
    const path = join(folder, 'bad.json');
    writeFileSync(path, content);
    expect(() => readPareto(path)).toThrowError(expect.objectContaining({ code: 'E_DATA' }));
  });
});

describe('the cache', () => {
  test('computes once per key, also in another session, and again after damage', async () => {
    const path = join(folder, 'cache');
    let runs = 0;
    const compute = () => Promise.resolve({ loss: [++runs] });
    expect(await cached(openCache(path), { layer: 'a', n: 1 }, compute)).toEqual({ loss: [1] });
    expect(await cached(openCache(path), { n: 1, layer: 'a' }, compute)).toEqual({ loss: [1] });
    expect(await cached(openCache(path), { layer: 'b', n: 1 }, compute)).toEqual({ loss: [2] });
  });
});
