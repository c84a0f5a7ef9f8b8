/** Thresholds on activations from the quantize program and in the report, on the fixture networks. */
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { createContext } from '../../src/core/index.js';
import { quantize, report, type QuantizeRequest, type QuantizeResult } from '../../src/pipeline/index.js';
import { formatSection, activationSection, quantities } from '../../src/report/index.js';
import { parseSparsityTarget } from '../../src/solve/index.js';
import { fashionRequest } from '../helpers/fashion.js';
import { temporaryFolder } from '../helpers/folder.js';

const folder = temporaryFolder();
const PREPROCESS = { scale: 1 / 255, mean: 0.286, std: 0.353 };

function request(name: 'cnn' | 'vit', target?: string): QuantizeRequest {
  const spec = {
    path: 'fixtures/fashion-mnist/calibration.npz',
    rows: [0, 40] as const,
    preprocess: PREPROCESS,
  };
  return fashionRequest(
    join(folder, `${name}.onnx`),
    {},
    {
      model: `fixtures/fashion-${name}/${name}.onnx`,
      weightRange: 'range',
      statistics: { kind: 'data', spec },
      dryRun: false,
      ...(target === undefined ? {} : { activationSparsity: parseSparsityTarget(target) }),
    },
  );
}

const found: Partial<Record<'cnn' | 'vit', QuantizeResult>> = {};
beforeAll(async () => {
  for (const name of ['cnn', 'vit'] as const)
    found[name] = await quantize(request(name, 'cett=0.1'), createContext());
}, 60_000);

describe('quantize --activation-sparsity', () => {
  it('finds zeros behind ReLU and none behind GELU, and more to leave out behind ReLU', () => {
    const [cnn, vit] = [found.cnn?.activations, found.vit?.activations];
    const mean = (xs: readonly number[] = []): number => xs.reduce((a, b) => a + b, 0) / xs.length;
    expect(mean(cnn?.sites.map((s) => s.zeros))).toBeGreaterThan(0.4);
    expect(Math.max(...(vit?.sites.map((s) => s.zeros) ?? [1]))).toBeLessThan(0.01);
    expect(vit?.sites.every((s) => s.activation === 'Gelu')).toBe(true);
    const heldOut = (s: { sparsity: { heldOut?: number } }): number => s.sparsity.heldOut ?? NaN;
    expect(mean(cnn?.sites.map(heldOut))).toBeGreaterThan(mean(vit?.sites.map(heldOut)) + 0.1);
    expect(mean(vit?.sites.map(heldOut))).toBeGreaterThan(0.1);
  });

  it('keeps the error of every layer below the target', () => {
    for (const { activations } of Object.values(found))
      for (const { cett } of activations?.sites ?? []) expect(cett.fit).toBeLessThanOrEqual(0.1);
  });

  it('puts thresholds into the graph and into the manifest', () => {
    const { model, activations, manifest } = found.vit as QuantizeResult;
    expect(model.graph.nodes.filter((n) => n.opType === 'Where').length).toBeGreaterThanOrEqual(
      activations?.sites.length ?? 1,
    );
    expect(manifest.activations).toEqual(activations);
  });

  it('predicts what would be saved from what is left out', () => {
    const saved = found.cnn?.activations?.predictedSavedMacs;
    expect(saved?.zeros).toBeGreaterThan(0.2);
    expect(saved?.sparse).toBeGreaterThan((saved?.zeros ?? 1) + 0.02);
    expect(saved?.sparse).toBeLessThan(1);
  });
});

it('reports zeros of both models, and what could be left out', async () => {
  const settings = {
    float: 'fixtures/fashion-cnn/cnn.onnx',
    quantized: join(folder, 'cnn.onnx'),
    data: { path: 'fixtures/fashion-mnist/test.npz', rows: [0, 40] as const, preprocess: PREPROCESS },
    metrics: [],
    layers: 0,
    latency: 0,
    tensors: [],
    gates: [],
    activationSparsity: parseSparsityTarget('0.1'),
  };
  const result = await report(settings, createContext());
  const { activations } = result;
  if (activations === undefined) throw new Error('no activations');
  for (const { node, zeros } of activations.sites)
    expect(activations.quantizedZeros?.[node]).toBeGreaterThan(zeros + 0.01);
  const measured = quantities(result);
  expect(measured.get('activations.zeros')?.value).toBeGreaterThan(
    measured.get('activations.zeros.float')?.value ?? 100,
  );
  expect(formatSection(activationSection(activations))).toMatch(/Predicted, not\s+measured/);
}, 60_000);

it.each(['integer', 'cpp'] as const)('is refused where nothing is float: %s', async (emit) => {
  const wanted = { ...request('vit', 'cett=0.1'), emit };
  await expect(quantize(wanted, createContext())).rejects.toMatchObject({
    code: 'E_USAGE',
    message: expect.stringContaining(`the form ${emit} has no float between layers`) as string,
  });
});

it('needs data', async () => {
  const { statistics: _none, ...rest } = request('vit', 'cett=0.1');
  await expect(quantize(rest, createContext())).rejects.toThrow(/chosen on data/);
});
