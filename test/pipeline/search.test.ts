/** Mixed precision from data to a quantized model: budgets hold, the search beats uniform and reversed assignments. */
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { createContext } from '../../src/core/index.js';
import { search, type SearchRequest } from '../../src/pipeline/index.js';
import { DEFAULT_SETTINGS } from '../../src/plan/index.js';
import {
  contestSentence,
  findHardware,
  parseBudget,
  pointRules,
  readPareto,
  sensitivityTable,
  type ParetoFile,
} from '../../src/search/index.js';
import { temporaryFolder } from '../helpers/folder.js';

const folder = temporaryFolder();
const request: SearchRequest = {
  model: 'fixtures/fashion-cnn/cnn.onnx',
  data: {
    path: 'fixtures/fashion-mnist/calibration.npz',
    rows: [0, 64],
    preprocess: { scale: 1 / 255, mean: 0.286, std: 0.353 },
  },
  out: join(folder, 'cnn.pareto.json'),
  plan: DEFAULT_SETTINGS,
  ranges: { method: 'minmax' },
  weightRange: 'mse',
  scales: { ranges: { method: 'auto' }, weightRange: 'auto' },
  axes: {
    weights: ['int8', 'int4', 'int3'],
    activations: ['uint8'],
    granularity: ['channel'],
    sparsity: ['dense'],
    solvers: ['nearest'],
  },
  sensitivity: 'measured',
  hardware: findHardware('onnxruntime-cpu'),
  budgets: [parseBudget('bits=60%@int8')],
  maxLoss: 0.1,
  samples: 64,
  solving: { effort: 'fast' },
};

describe('search', () => {
  let file: ParetoFile;
  const point = (name: string): ParetoFile['points'][number] => {
    const found = file.points.find((p) => p.name === name);
    if (found === undefined) throw new Error(`no point ${name}`);
    return found;
  };

  beforeAll(async () => {
    file = await search(request, createContext());
  }, 400_000);

  it('keeps the budget and reaches the loss asked for', () => {
    expect(point('budget').costs.bits).toBeLessThanOrEqual(0.6 * (file.references.int8.bits ?? 0));
    expect(point('floor').written).toBeLessThanOrEqual(0.1);
    expect(point('floor').costs.bits).toBeLessThan(file.references.int8.bits ?? 0);
  });

  it('takes what loses least as written, of the optima of several sensitivities and the uniform format', () => {
    const { contest, written } = point('budget');
    const contenders = contest?.contenders ?? [];
    const names = contenders.map((c) => c.from).filter((name) => name !== 'corrected');
    expect(names).toEqual(['measured', 'gram', 'hessian', 'combined', 'uniform']);
    const taken = contenders.find((c) => c.from === contest?.taken);
    expect(taken?.written).toBe(written);
    // The uniform format and `combined` keep their place where chance decides.
    for (const name of ['uniform', 'combined'])
      expect(taken?.steady).toBeLessThanOrEqual(contenders.find((c) => c.from === name)?.steady ?? NaN);
    expect(new Set(contenders.map((c) => c.steady)).size).toBeGreaterThan(1);
    expect(contestSentence(point('budget'))).toContain(`comes from ${contest?.taken};`);
    expect(contestSentence(point('floor'))).toBe('');
  });

  it('has a front from all narrow to all wide, which loses less the more it costs', () => {
    const front = file.points.filter((p) => /^p\d/.test(p.name));
    const bits = front.map((p) => p.costs.bits ?? 0);
    expect(bits).toEqual([...bits].sort((a, b) => a - b));
    expect(front.at(-1)?.measured).toBeLessThan((front[0]?.measured ?? 0) / 10);
  });

  it('beats the uniform format of about its size on the same samples', async () => {
    const { maxLoss: _loss, ...rest } = request;
    const uniform = await search(
      {
        ...rest,
        out: join(folder, 'uniform.json'),
        axes: { ...request.axes, weights: ['int4'] },
        budgets: [],
      },
      createContext(),
    );
    const four = uniform.points[0];
    // 4 bits everywhere is half of 8 bits; the budget allows a tenth more.
    expect(point('budget').measured).toBeLessThan(0.7 * (four?.measured ?? 0));
  });

  it('writes the same bytes again and hands its points to the planner', async () => {
    const again = await search(
      { ...request, out: join(folder, 'again.json') },
      createContext({ threads: 1 }),
    );
    expect(again).toEqual(file);
    const rules = pointRules(readPareto(request.out), 'budget');
    expect(rules).toHaveLength(17);
    expect(new Set(rules.map((r) => r.weights)).size).toBeGreaterThan(1);
  });

  it('explains every choice by what the next cheaper and the next better candidate would have changed', () => {
    const { explanations = [] } = point('budget');
    const limit = 0.6 * (file.references.int8.bits ?? 0);
    const used = point('budget').costs.bits ?? 0;
    expect(explanations.filter((e) => e.layers.length > 0)).toHaveLength(17);
    for (const { cheaper, better } of explanations) {
      if (cheaper !== undefined) expect(cheaper.change.bits).toBeLessThan(0);
      if (better === undefined) continue;
      // What is better did not fit, or would have cost another layer more.
      expect(better.change.loss).toBeLessThan(0);
      expect(better.change.bits).toBeGreaterThan(0);
    }
    expect(used).toBeGreaterThan(0.95 * limit);
    const predicted = explanations.reduce((sum, { amount }) => sum + amount, 0);
    expect(predicted).toBeCloseTo(point('budget').predicted, 9);
  });

  it('finds the cheapest assignment that keeps a metric, and fails as a gate when there is none', async () => {
    const labels = {
      metric: 'top1',
      labels: 'fixtures/fashion-mnist/test-labels.npy',
      data: { ...request.data, path: 'fixtures/fashion-mnist/test.npz', rows: [0, 400] as const },
    };
    const cheap = { ...request.axes, weights: ['int8', 'int4', 'int2'] };
    const { maxLoss: _loss, ...measured } = request;
    // Every point is written: choosing its scales by measurement each time is not what this is about.
    const rest = { ...measured, scales: { ranges: request.ranges, weightRange: request.weightRange } };
    const found = await search(
      {
        ...rest,
        budgets: [],
        axes: cheap,
        out: join(folder, 'drop.json'),
        maxDrop: { max: 3, ...labels },
      },
      createContext(),
    );
    const { drop, costs } = found.points.find((p) => p.name === 'drop') ?? {};
    expect((drop?.value ?? NaN) + 2 * (drop?.error ?? NaN)).toBeLessThanOrEqual(3);
    expect(costs?.size).toBeLessThan(found.references.int8.size ?? 0);
    const narrow = { ...cheap, weights: ['int2'] };
    const out = join(folder, 'none.json');
    await expect(
      search({ ...rest, budgets: [], axes: narrow, out, maxDrop: { max: 0.5, ...labels } }, createContext()),
    ).rejects.toMatchObject({ code: 'E_BUDGET', exit: 1, message: expect.stringMatching(/drop of top1/) });
    // What could be reached is written all the same.
    expect(readPareto(out).points.length).toBeGreaterThan(0);
  });

  it('writes assignments of activation formats', async () => {
    const { maxLoss: _loss, ...rest } = request;
    const out = join(folder, 'activations.json');
    const axes = { ...request.axes, weights: ['int8', 'int4'], activations: ['uint8', 'uint4'] };
    const found = await search(
      { ...rest, out, axes, sensitivity: 'gram', budgets: [parseBudget('bops=40%@int8')] },
      createContext(),
    );
    const budget = found.points.find((p) => p.name === 'budget');
    const formats = Object.values(budget?.choice ?? {}).map((c) => found.candidates[c]?.activations);
    expect(new Set(formats)).toEqual(new Set(['uint8', 'uint4']));
    expect(budget?.written).toBeGreaterThan(0);
  });

  it('keeps budgets on several costs at once: declared energy, measured time, bytes', async () => {
    const { maxLoss: _loss, ...rest } = request;
    const mac = { '8x8': 0.2, '4x8': 0.1, '3x8': 0.09, '32x32': 4 };
    const hardware = { name: 'onnxruntime-cpu', sparse: [], energy: { mac, byte: 10 } };
    const wanted = ['energy=60%@int8', 'latency=2000%@int8', 'size=60%@int8'];
    const found = await search(
      {
        ...rest,
        out: join(folder, 'costs.json'),
        hardware,
        sensitivity: 'gram',
        budgets: wanted.map(parseBudget),
        cache: join(folder, 'times'),
      },
      createContext(),
    );
    const budget = found.points.find((p) => p.name === 'budget');
    for (const [cost, share] of [
      ['energy', 0.6],
      ['latency', 20],
      ['size', 0.6],
    ] as const) {
      expect(budget?.costs[cost]).toBeGreaterThan(0);
      expect(budget?.costs[cost]).toBeLessThanOrEqual(share * (found.references.int8[cost] ?? 0));
    }
    const silent = { ...hardware, energy: { mac: { '8x8': 0.2 }, byte: 10 } };
    await expect(
      search({ ...rest, hardware: silent, budgets: [parseBudget('energy=60%@int8')] }, createContext()),
    ).rejects.toMatchObject({ code: 'E_CONFIG', message: expect.stringMatching(/declares no energy of/) });
  });

  it('compares sensitivities with the measured one', () => {
    const [measured, ...cheap] = file.sensitivities ?? [];
    expect(measured?.method).toBe('measured');
    expect(measured?.agreement).toBeUndefined();
    expect(cheap.map((c) => c.method)).toEqual(['gram', 'importance', 'hessian']);
    for (const { forwardPasses = NaN, agreement } of cheap) {
      expect(forwardPasses).toBeLessThan(measured?.forwardPasses ?? 0);
      expect(agreement?.overall).toBeGreaterThan(0.5);
    }
    expect(sensitivityTable(file).split('\n')).toHaveLength(5);
  });

  it('fails as a gate when no assignment keeps the budget', async () => {
    const impossible = { ...request, budgets: [parseBudget('bits=5%@int8')] };
    await expect(search(impossible, createContext())).rejects.toMatchObject({ code: 'E_BUDGET', exit: 1 });
  });
});
