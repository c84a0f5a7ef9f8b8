import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createContext, createRng } from '../../src/core/index.js';
import { hashModel } from '../../src/calibrate/index.js';
import { readModel, writeModel } from '../../src/onnx/index.js';
import { type LayerReport } from '../../src/solve/index.js';
import { report } from '../../src/pipeline/report.js';
import { parseGate, type ReportResult } from '../../src/report/index.js';
import { tensor, writeNpy } from '../../src/tensor/index.js';
import { type ReportSettings } from '../../src/config/index.js';
import { floatModel, quantizedModel } from '../report/models.js';

let folder: string;
const at = (name: string): string => join(folder, name);

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'fxq-report-'));
  writeModel(floatModel(), at('float.onnx'));
  writeModel(quantizedModel(), at('quantized.onnx'));
  const rng = createRng(5);
  const x = Float32Array.from({ length: 40 * 8 }, () => rng.normal());
  writeFileSync(at('x.npy'), writeNpy(tensor('float32', [40, 8], x)));
  writeFileSync(
    at('y.npy'),
    writeNpy(
      tensor(
        'int64',
        [40],
        Array.from({ length: 40 }, (_, i) => i % 4),
      ),
    ),
  );
  writeFileSync(at('short.npy'), writeNpy(tensor('int64', [39])));
});
afterAll(() => rmSync(folder, { recursive: true }));

type Changes = { [K in keyof ReportSettings]?: ReportSettings[K] | undefined };

function run(changes: Changes = {}, clock?: () => number): Promise<ReportResult> {
  const settings = {
    float: at('float.onnx'),
    quantized: at('quantized.onnx'),
    data: { path: at('x.npy') },
    labels: at('y.npy'),
    metrics: [],
    layers: 8,
    latency: 2,
    tensors: [],
    gates: [],
    ...changes,
  } as ReportSettings;
  return report(settings, createContext(), clock === undefined ? {} : { clock });
}

describe('report', () => {
  it('measures all there is to measure and survives JSON', async () => {
    let now = 0;
    const result = await run({}, () => now++);
    expect(result.metrics.map((m) => m.name)).toEqual(['top1']);
    expect(result.outputs[0]).toMatchObject({ name: 'logits' });
    expect(result.layers.map((l) => l.node)).toEqual(['fc1', 'relu', 'fc2']);
    expect(result.size.quantized).toBeGreaterThan(400);
    expect(result.latency).toMatchObject({ runs: 2, batch: 1, float: { median: 1 } });
    expect(result.kernels?.nodes.map((n) => n.name)).toEqual(['fc1', 'fc2']);
    expect(result.data).toMatchObject({ source: 'x.npy', samples: 40, synthetic: false });
    expect(JSON.parse(JSON.stringify(result))).toEqual(result);
  });

  it('tells what solvers did, from the manifest beside the model it was written with', async () => {
    const solved = (node: string): LayerReport => ({
      node,
      weight: `${node}.w`,
      solver: 'descent',
      error: { nearest: 1e-2, fit: 1e-3, heldOutNearest: 1e-2, heldOut: 2e-3 },
      fellBack: false,
    });
    const weights = { a: solved('fc2'), b: solved('fc1') };
    const beside = (output: string): void =>
      writeFileSync(
        at('quantized.fxq.json'),
        JSON.stringify({ manifestVersion: 1, hashes: { output }, weights }),
      );
    beside(hashModel(readModel(at('quantized.onnx'))));
    expect((await run()).weights?.map((w) => w.node)).toEqual(['fc1', 'fc2']);
    beside('of another model');
    expect((await run()).weights).toBeUndefined();
    rmSync(at('quantized.fxq.json'));
  });

  it('scores the rows that were asked for with their own labels', async () => {
    const all = await run();
    const [one, other] = [
      await run({ data: { path: at('x.npy'), rows: [0, 10] } }),
      await run({ data: { path: at('x.npy'), rows: [10, 40] } }),
    ];
    const top1 = (r: ReportResult): number => r.metrics[0]!.float;
    expect(0.25 * top1(one) + 0.75 * top1(other)).toBeCloseTo(top1(all), 9);
  });

  it('fails on a gate of level error only', async () => {
    const gates = [parseGate('sqnr >= 200', 'warn'), parseGate('size.ratio < 100 %')];
    expect(await run({ gates })).toMatchObject({
      passed: true,
      gates: [{ passed: false }, { passed: true }],
    });
    expect(await run({ gates: [parseGate('sqnr >= 200')] })).toMatchObject({ passed: false });
  });

  it('compares with a baseline, and gates can speak of the change', async () => {
    const earlier = await run();
    writeFileSync(at('last.json'), JSON.stringify({ ...earlier, size: { ...earlier.size, quantized: 100 } }));
    const result = await run({ baseline: at('last.json'), gates: [parseGate('delta.size <= 0 B')] });
    expect(result.gates[0]).toMatchObject({ passed: false, value: earlier.size.quantized - 100, unit: 'B' });
  });

  it('says that random data prove nothing', async () => {
    const result = await run({ data: { kind: 'random', samples: 4 }, labels: undefined });
    expect(result.data).toMatchObject({ source: 'random numbers', samples: 4, synthetic: true });
    expect(result.notes.map((n) => n.code)).toContain('synthetic-data');
  });

  it.each([
    [
      'labels of another length',
      { labels: 'short.npy' },
      'E_LABELS',
      /short\.npy holds 39 labels, the data has 40/,
    ],
    ['a gate on what is not measured', { gates: [parseGate('topl.drop < 1')] }, 'E_USAGE', /'topl'/],
    [
      'a gate on what is switched off',
      { latency: 0, gates: [parseGate('latency.speedup > 1')] },
      'E_USAGE',
      /'latency', which is switched off/,
    ],
    [
      'a gate on a change since nothing',
      { gates: [parseGate('delta.sqnr > -1')] },
      'E_USAGE',
      /'delta', which is switched off/,
    ],
    ['a metric without labels', { labels: undefined, metrics: ['top1'] }, 'E_USAGE', /needs labels/],
    ['a baseline that is none', { baseline: 'y.npy' }, 'E_DATA', /y\.npy is not a report/],
  ] as const)('refuses %s', async (_, changes, code, message) => {
    const paths = Object.fromEntries(
      Object.entries(changes).map(([key, value]) => [key, typeof value === 'string' ? at(value) : value]),
    );
    await expect(run(paths)).rejects.toMatchObject({ code, message: expect.stringMatching(message) });
  });
});
