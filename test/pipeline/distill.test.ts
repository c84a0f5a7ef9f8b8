/** Distillation from the quantize program: what it promises is true of the written file, and nothing is lost by it. */
import { cpSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { createContext } from '../../src/core/index.js';
import { openDataSet, type DataSpec } from '../../src/data/index.js';
import { openSession } from '../../src/engine/index.js';
import { feedInputs, readModel } from '../../src/onnx/index.js';
import { quantize, type QuantizeRequest, type QuantizeResult } from '../../src/pipeline/index.js';
import { DEFAULT_SETTINGS } from '../../src/plan/index.js';
import { parsePattern, verifySparsity } from '../../src/solve/index.js';
import { klDivergence, softmax, toFloat32, type Tensor } from '../../src/tensor/index.js';
import { FASHION_CNN, fashionImages, fashionRequest } from '../helpers/fashion.js';
import { temporaryFolder } from '../helpers/folder.js';

const folder = temporaryFolder();
/** Layers are solved once; what distillation itself keeps is under other names. */
const cache = join(folder, 'cache');

function request(out: string, changes: Partial<QuantizeRequest> = {}): QuantizeRequest {
  return fashionRequest(
    join(folder, out),
    { activations: DEFAULT_SETTINGS.activations, weights: 'int4' },
    {
      statistics: { kind: 'data', spec: fashionImages('calibration', [0, 128]) },
      solving: { effort: 'fast', cache, sparsity: { pattern: '2:4', method: 'joint' } },
      dryRun: false,
      ...changes,
    },
  );
}

const distilling = (changes = {}): Partial<QuantizeRequest> => ({
  solving: {
    effort: 'fast',
    cache,
    sparsity: { pattern: '2:4', method: 'joint' },
    distill: { steps: 10, batch: 16, ...changes },
  },
});

/** KL divergence of the written model's predictions from the float model's. */
async function divergence(path: string, images: DataSpec): Promise<number> {
  const data = await openDataSet(images, feedInputs(readModel(FASHION_CNN).graph), createContext());
  const [float, quantized] = [await openSession(FASHION_CNN), await openSession(path)];
  let sum = 0;
  for await (const { inputs, count } of data.batches(25)) {
    const [a, b] = [await float.run(inputs), await quantized.run(inputs)].map((results) =>
      toFloat32(results.get('logits') as Tensor),
    );
    for (let i = 0; i < count; i++) {
      const row = (t: Float32Array): Float64Array => softmax(t.subarray(10 * i, 10 * i + 10));
      sum += klDivergence(row(a!), row(b!));
    }
  }
  return sum / data.samples;
}

describe('distillation', () => {
  const [plain, better] = [request('plain.onnx'), request('distilled.onnx', distilling())];
  let result: QuantizeResult;
  beforeAll(async () => {
    await quantize(plain, createContext({ threads: 1 }));
    result = await quantize(better, createContext({ threads: 1 }));
  });

  it('lowers the divergence from the float model on images it never saw', async () => {
    const images = fashionImages('test', [0, 300]);
    expect(await divergence(better.out, images)).toBeLessThan(0.8 * (await divergence(plain.out, images)));
  });

  it('trains what is written: its loss is that of the file', async () => {
    // With float activations nothing but the weights is rounded, so both agree to the last digits. The last fifth of 128
    // samples is 25: 12 choose the step, 12 confirm it, one is left over.
    const exact = request('exact.onnx', {
      ...distilling({ steps: 4 }),
      plan: { ...DEFAULT_SETTINGS, weights: 'int4', activations: 'float' },
    });
    const { distilled, manifest } = await quantize(exact, createContext({ threads: 1 }));
    expect(distilled!.output.after).toBeLessThan(distilled!.output.before);
    const measured = await divergence(exact.out, fashionImages('calibration', [115, 127]));
    expect(measured / distilled!.output.after).toBeCloseTo(1, 3);
    expect(manifest.distillation).toEqual(distilled);
  });

  it('keeps the pattern, and moves codes', async () => {
    const sparse = new Set(result.layers.filter((l) => l.solver === '2:4 joint').map((l) => l.node));
    const counts = await verifySparsity(readModel(better.out), parsePattern('2:4'), sparse);
    expect(counts.length).toBeGreaterThan(5);
    expect(counts.every((c) => c.violations === 0)).toBe(true);
    expect(readFileSync(better.out).equals(readFileSync(plain.out))).toBe(false);
  });

  it('weighs late features by what was lost there', () => {
    const { late } = result.distilled!;
    expect(late.length).toBeGreaterThan(1);
    expect(late.reduce((sum, f) => sum + f.weight, 0)).toBeCloseTo(result.distilled!.featureWeight);
    expect(new Set(late.map((f) => f.weight)).size).toBe(late.length);
  });

  it('gives the same bytes for other threads, and where an interrupt left off', async () => {
    const small = { steps: 4, batch: 8 };
    const first = request('one.onnx', distilling(small));
    const other = join(folder, 'other');
    cpSync(cache, other, { recursive: true, filter: (path) => !path.endsWith('.distill.npz') });
    const abort = new AbortController();
    const interrupted = createContext({
      threads: 2,
      signal: abort.signal,
      start: (title) => ({
        update: (done) => title === 'Distilling' && done === 2 && abort.abort(),
        finish: () => undefined,
      }),
    });
    await expect(quantize(first, interrupted)).rejects.toMatchObject({ code: 'E_INTERRUPTED' });
    await quantize(first, createContext({ threads: 1 }));
    const second = request('two.onnx', { solving: { ...first.solving, cache: other } });
    await quantize(second, createContext({ threads: 2 }));
    expect(readFileSync(second.out).equals(readFileSync(first.out))).toBe(true);
  });

  it('takes models above the opset that gradients need', async () => {
    // Weights of 2 bits need opset 25.
    const narrow = request('narrow.onnx', {
      plan: { ...DEFAULT_SETTINGS, weights: 'int2', activations: 'float' },
      solving: { effort: 'fast', cache, distill: { steps: 4, batch: 16 } },
    });
    const { distilled } = await quantize(narrow, createContext({ threads: 1 }));
    expect(distilled!.output.after).toBeLessThan(distilled!.output.before);
  });

  it('keeps the solved network where nothing better is found', async () => {
    const wild = request('wild.onnx', distilling({ steps: 2, rate: 10 }));
    const { distilled } = await quantize(wild, createContext({ threads: 1 }));
    expect(distilled!.bestStep).toBe(0);
    expect(readFileSync(wild.out).equals(readFileSync(plain.out))).toBe(true);
  });

  it('refuses settings that limit codes', async () => {
    await expect(
      quantize(request('no.onnx', { ...distilling(), avoidSaturation: true }), createContext()),
    ).rejects.toMatchObject({ code: 'E_USAGE' });
  });
});
