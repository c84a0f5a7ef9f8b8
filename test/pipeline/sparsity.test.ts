/** 2:4 weights from the quantize program: the pattern in the file, the packed copy, and the gain of choosing jointly. */
import { statSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { createContext } from '../../src/core/index.js';
import { readModel } from '../../src/onnx/index.js';
import { quantize, type QuantizeRequest, type QuantizeResult } from '../../src/pipeline/index.js';
import { DEFAULT_SETTINGS } from '../../src/plan/index.js';
import {
  parsePattern,
  readSidecar,
  unpackWeight,
  verifySparsity,
  type SparseSolver,
} from '../../src/solve/index.js';
import { temporaryFolder } from '../helpers/folder.js';

const folder = temporaryFolder();
const pattern = parsePattern('2:4');

function request(out: string, method: SparseSolver, weights = 'int4'): QuantizeRequest {
  return {
    model: 'fixtures/fashion-cnn/cnn.onnx',
    out: join(folder, out),
    plan: { ...DEFAULT_SETTINGS, weights, activations: 'float' },
    emit: 'qdq',
    ranges: { method: 'minmax' },
    weightRange: 'mse',
    statistics: {
      kind: 'data',
      spec: {
        path: 'fixtures/fashion-mnist/calibration.npz',
        rows: [0, 128],
        preprocess: { scale: 1 / 255, mean: 0.286, std: 0.353 },
      },
    },
    solving: { effort: 'fast', sparsity: { pattern: '2:4', method } },
    avoidSaturation: false,
    externalData: false,
    dryRun: false,
    locked: false,
  };
}

const meanError = ({ layers }: QuantizeResult): number =>
  layers
    .filter((l) => l.solver.startsWith('2:4'))
    .reduce((sum, l) => sum + Math.log(l.error.heldOut ?? NaN), 0);

describe('2:4 sparsity', () => {
  let joint: QuantizeResult;
  const r = request('joint.onnx', 'joint');
  beforeAll(async () => {
    joint = await quantize(r, createContext());
  });

  it('is in the weights that the written model multiplies, and only where kernels could use it', async () => {
    const sparse = joint.layers.filter((l) => l.solver === '2:4 joint').map((l) => l.node);
    expect(sparse.length).toBeGreaterThan(5);
    expect(sparse.some((name) => name.includes('depthwise') || name.startsWith('stem'))).toBe(false);
    const counts = await verifySparsity(readModel(r.out), pattern, new Set(sparse));
    expect(counts.every((c) => c.violations === 0 && c.density <= 0.5)).toBe(true);
    const others = await verifySparsity(readModel(r.out), pattern);
    expect(others.some((c) => c.violations > 0)).toBe(true);
  });

  it('is packed beside the model in 5 of 8 bits of the dense codes, with the same codes', () => {
    const weights = readSidecar(join(folder, 'joint.sparse.safetensors'));
    const stored = readModel(r.out).graph.initializers;
    for (const { initializer, packed, scale } of weights) {
      const elements = (stored.get(`${initializer}_quantized`)?.dims ?? []).reduce((a, b) => a * b, 1);
      // Two of four 4-bit codes and two 2-bit indices: 12 of 16 bits. At 8 bits it is 20 of 32.
      expect(packed.values.length + packed.indices.length).toBe((elements * 3) / 8);
      expect(unpackWeight(packed)).toHaveLength(elements);
      expect(scale.length).toBeGreaterThan(1);
    }
    expect(statSync(join(folder, 'joint.sparse.safetensors')).size).toBeGreaterThan(0);
  });

  it('loses less on unseen samples when mask and codes are chosen together', async () => {
    for (const method of ['magnitude', 'wanda', 'sparsegpt'] as const) {
      const other = await quantize(request(`${method}.onnx`, method), createContext());
      expect(meanError(joint)).toBeLessThan(meanError(other));
    }
  });

  it('names the reasons when no layer can be sparse', async () => {
    const float = request('none.onnx', 'joint');
    await expect(
      quantize({ ...float, plan: { ...float.plan, weights: 'nf4' } }, createContext()),
    ).rejects.toMatchObject({ code: 'E_UNSUPPORTED', message: 'no layer can be 2:4 sparse' });
  });
});
