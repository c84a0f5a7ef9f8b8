/** Binary points and word lengths chosen by the quantize program, and what the report says of them. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { createContext } from '../../src/core/index.js';
import { openSession } from '../../src/engine/index.js';
import { writeModel } from '../../src/onnx/index.js';
import { tensor, writeNpy } from '../../src/tensor/index.js';
import { parseFormat } from '../../src/formats/index.js';
import { bestOnOthers } from '../../src/pipeline/binary-points.js';
import { quantize, readManifest, report, type QuantizeRequest } from '../../src/pipeline/index.js';
import { DEFAULT_SETTINGS, type PlanSettings } from '../../src/plan/index.js';
import { evidenceSections, formatSection, type FormatEvidence } from '../../src/report/index.js';
import { fashionRequest } from '../helpers/fashion.js';
import { temporaryFolder } from '../helpers/folder.js';
import { model } from '../helpers/model.js';

const folder = temporaryFolder();
const MODEL = 'fixtures/fashion-cnn/cnn.onnx';
const preprocess = { scale: 1 / 255, mean: 0.286, std: 0.353 };
const spec = { path: 'fixtures/fashion-mnist/calibration.npz', rows: [0, 80] as const, preprocess };

function request(
  out: string,
  plan: Partial<PlanSettings>,
  changes: Partial<QuantizeRequest> = {},
): QuantizeRequest {
  const settings = { ...DEFAULT_SETTINGS, target: 'integer', granularity: 'tensor', ...plan } as const;
  const statistics = { kind: 'data', spec } as const;
  const usual = { statistics, weightRange: 'range', dryRun: false } as const;
  return fashionRequest(join(folder, out), settings, { ...usual, ...changes });
}

async function run(r: QuantizeRequest): Promise<FormatEvidence> {
  return (await quantize(r, createContext())).manifest.formats ?? {};
}

const fixed = (bits: number): Partial<PlanSettings> => ({
  weights: `fix${bits}`,
  activations: `fix${bits}`,
});

describe('binary points', () => {
  let six: FormatEvidence = {};
  const heldOut = ({ binaryPoints }: FormatEvidence, method: string): number =>
    binaryPoints?.trials.find((t) => t.method === method)?.heldOut ?? NaN;

  beforeAll(async () => {
    six = await run(request('six.onnx', fixed(6), { binaryPoint: 'learned' }));
  }, 60_000);

  it('are far better learned through the model than chosen tensor by tensor, at 6 bits', () => {
    const [ranges, exhaustive, learned] = ['ranges', 'exhaustive', 'learned'].map((m) => heldOut(six, m));
    expect(learned).toBeGreaterThan(ranges! + 5);
    expect(learned).toBeGreaterThan(exhaustive! + 5);
  });

  it('are kept only where they do better on samples that learning has not seen', () => {
    expect(six.binaryPoints).not.toHaveProperty('kept');
    const [ranges, exhaustive] = [
      { method: 'ranges', fit: 7, heldOut: 7.7 },
      { method: 'exhaustive', fit: 7, heldOut: 8.9 },
    ] as const;
    const trials = (heldOut: number) => [ranges, exhaustive, { method: 'learned', fit: 9, heldOut } as const];
    expect(bestOnOthers(trials(6.6))).toBe('exhaustive');
    expect(bestOnOthers(trials(8.9))).toBe('learned');
    const kept = { method: 'learned', kept: 'exhaustive', trials: trials(6.6) } as const;
    expect(evidenceSections({ binaryPoints: kept })[0]?.lead).toMatch(
      /^Chosen: exhaustive, which does better/,
    );
  });

  it('are powers of two in the plan and on the grid in the model', () => {
    const { plan } = readManifest(join(folder, 'six.fxq.json'));
    const scales = [...Object.values(plan.activations), ...Object.values(plan.weights)].flatMap(
      (t) => t.scale,
    );
    expect(scales.every((s) => Number.isInteger(Math.log2(s)))).toBe(true);
    expect(Object.values(plan.activations).every((a) => a.range?.method === 'learned')).toBe(true);
  });

  it('are compared in the report of that very model', async () => {
    const settings = {
      float: MODEL,
      quantized: join(folder, 'six.onnx'),
      data: { ...spec, rows: [0, 16] as const },
      metrics: [],
      layers: 0,
      latency: 0,
      tensors: [],
      gates: [],
    };
    const { evidence } = await report(settings, createContext());
    expect(evidence?.binaryPoints).toEqual(six.binaryPoints);
    const text = evidenceSections(evidence ?? {})
      .map((s) => formatSection(s))
      .join('\n');
    expect(text).toMatch(/learned +[\d.]+ dB +[\d.]+ dB/);
  });

  it('gain next to nothing at 8 bits', async () => {
    const eight = await run(
      request('eight.onnx', { ...fixed(8), granularity: 'channel' }, { binaryPoint: 'exhaustive' }),
    );
    const gain = heldOut(eight, 'exhaustive') - heldOut(eight, 'ranges');
    expect(Math.abs(gain)).toBeLessThan(3);
  });

  it('say why they cannot be chosen', async () => {
    const int8 = request('x.onnx', {}, { binaryPoint: 'exhaustive' });
    await expect(run(int8)).rejects.toThrow('none is open in');
    const given = request('x.onnx', { weights: 'fix6.3', activations: 'fix6.2' }, { binaryPoint: 'ranges' });
    await expect(run(given)).rejects.toThrow('none is open in');
  });
});

describe('word lengths by information', () => {
  it('raises the opset as far as the shortest word needs', async () => {
    const signs = model`
      opset 17
      (float32[N,4] x) => (float32[N,3] y) {
        w: float32[4,3] = {1, -1, 1, -1, 1, 1, -1, 1, -1, -1, 1, -1}
        y = MatMul(x, w)
      }`;
    const [file, data] = [join(folder, 'signs.onnx'), join(folder, 'signs.npy')];
    writeModel(signs, file);
    writeFileSync(
      data,
      writeNpy(
        tensor(
          'float32',
          [16, 4],
          Float32Array.from({ length: 64 }, (_, i) => Math.sin(i)),
        ),
      ),
    );
    const changes = {
      model: file,
      statistics: { kind: 'data', spec: { path: data } },
      wordLength: { resolution: 100, epsilon: 0.01 },
    } as const;
    const { plan, model: written } = await quantize(
      request('words.onnx', fixed(8), changes),
      createContext(),
    );
    expect(parseFormat(plan.weights.w?.format ?? '').bits).toBeLessThan(4);
    await (await openSession(written)).release();
  });

  const words = (
    options: Partial<PlanSettings>,
    resolution: number,
    epsilon: number,
  ): Promise<FormatEvidence> =>
    run(request(`words${resolution}.onnx`, options, { wordLength: { resolution, epsilon } }));
  const mean = ({ wordLengths }: FormatEvidence): number => {
    const all = wordLengths?.weights ?? [];
    return all.reduce((sum, w) => sum + w.bits, 0) / all.length;
  };
  let coarse: FormatEvidence = {};

  beforeAll(async () => {
    coarse = await words(fixed(8), 20, 1e-2);
  }, 60_000);

  it('give every tensor a word of its own, in the file', () => {
    const { plan } = readManifest(join(folder, 'words20.fxq.json'));
    const { weights = [], activations = [] } = coarse.wordLengths ?? {};
    expect(weights.length).toBe(17);
    for (const { tensor, bits, fraction } of weights) {
      expect(plan.weights[tensor]?.format).toBe(`fix${bits}.${fraction}`);
      expect(plan.weights[tensor]?.scale).toEqual([2 ** -fraction]);
    }
    for (const { tensor, bits, fraction } of activations) {
      const format = plan.activations[tensor]?.format ?? '';
      expect(format).toMatch(new RegExp(`^u?fix${bits}\\.${fraction}$`));
    }
    expect(new Set(weights.map((w) => w.bits)).size).toBeGreaterThan(1);
    // What never is negative has no sign bit.
    expect(Object.values(plan.activations).some((a) => !parseFormat(a.format).signed)).toBe(true);
  });

  it('grow with the resolution', async () => {
    expect(mean(await words(fixed(8), 80, 1e-2))).toBeGreaterThan(mean(coarse));
  });

  it('predict a cost and say under which assumptions', () => {
    const { weights = [], cost } = coarse.wordLengths ?? {};
    const operations = weights.reduce((sum, w) => sum + (1 - w.sparsity) * w.macs * w.bits, 0);
    expect(cost?.bitOperations).toBeCloseTo(operations, 3);
    const text = evidenceSections(coarse)
      .map((s) => formatSection(s))
      .join('\n');
    expect(text).toContain('A prediction');
    expect(text.replace(/\s+/g, ' ')).toContain('no memory traffic');
  });

  it('are for fixed point with an open point', async () => {
    const options = { weights: 'int8', activations: 'uint8' };
    await expect(words(options, 20, 1e-2)).rejects.toThrow('no format is fixed point');
  });
});

describe('integer models', () => {
  it('say how far the QDQ form is, and count shifts and additions', async () => {
    const plan = {
      weights: 'pot8k2',
      activations: 'fix8',
      granularity: 'channel',
      solver: 'nearest',
    } as const;
    const { differences, shiftAdds = [] } = await run(request('hot.onnx', plan, { emit: 'integer' }));
    expect(differences).toEqual({ samples: 64, values: 640, differing: 0, largestStep: 0 });
    const table = JSON.parse(readFileSync(join(folder, 'hot.integer.json'), 'utf8')) as {
      weights: { name: string; shiftAdds: { shifts: number; adds: number } }[];
    };
    expect(shiftAdds.map((c) => c.shifts)).toEqual(table.weights.map((w) => w.shiftAdds.shifts));
  });

  it('keep to a width also with weights that a solver chose', async () => {
    const plan = { weights: 'fix6', activations: 'fix6', granularity: 'channel', solver: 'gptq' } as const;
    await run(request('narrow.onnx', plan, { emit: 'integer', accumulator: 14 }));
    const table = JSON.parse(readFileSync(join(folder, 'narrow.integer.json'), 'utf8')) as {
      accumulators: { kind: string; bits: number }[];
    };
    const sums = table.accumulators.filter(({ kind }) => /convolution|matrix-product/.test(kind));
    expect(Math.max(...sums.map((sum) => sum.bits))).toBeLessThanOrEqual(14);
  });

  it('are measured as such where QDQ lacks the rounding mode', async () => {
    const plan = { weights: 'fix8', activations: 'fix8:AP_TRN:AP_SAT', granularity: 'channel' } as const;
    const changes = { emit: 'integer', ranges: { method: 'auto' } } as const;
    const { manifest } = await quantize(request('trn.onnx', plan, changes), createContext());
    expect(manifest.formats?.differences).toBeUndefined();
  });
});
