/** 2:4 weights from the quantize program: the pattern in the file, the packed copy, and the gain of choosing jointly. */
import { existsSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { createContext } from '../../src/core/index.js';
import { readModel } from '../../src/onnx/index.js';
import { quantize, report, type QuantizeRequest, type QuantizeResult } from '../../src/pipeline/index.js';
import { type NodeRule } from '../../src/plan/index.js';
import { parseGate } from '../../src/report/index.js';
import {
  parsePattern,
  readSidecar,
  unpackWeight,
  verifySparsity,
  type SparseSolver,
} from '../../src/solve/index.js';
import { fashionImages, fashionRequest } from '../helpers/fashion.js';
import { temporaryFolder } from '../helpers/folder.js';

const folder = temporaryFolder();
const pattern = parsePattern('2:4');

function request(out: string, method: SparseSolver, weights = 'int4'): QuantizeRequest {
  return fashionRequest(
    join(folder, out),
    { weights },
    {
      statistics: { kind: 'data', spec: fashionImages('calibration', [0, 128]) },
      solving: { effort: 'fast', sparsity: { pattern: '2:4', method } },
      dryRun: false,
    },
  );
}

const meanError = ({ layers }: QuantizeResult): number =>
  layers
    .filter((l) => l.solver.startsWith('2:4'))
    .reduce((sum, l) => sum + Math.log(l.error.heldOut ?? NaN), 0);

describe('packed weights beside a model', () => {
  it('are no obstacle to a report where the form does not show the pattern, and go with the model', async () => {
    const weightsOnly = request('form.onnx', 'magnitude', 'int8');
    const sparse = { ...weightsOnly, plan: { ...weightsOnly.plan, activations: 'uint8' } };
    await quantize({ ...sparse, emit: 'qoperator' }, createContext());
    const packed = join(folder, 'form.sparse.safetensors');
    expect(existsSync(packed)).toBe(true);
    const settings = {
      float: sparse.model,
      quantized: sparse.out,
      data: fashionImages('test', [0, 8]),
      metrics: [],
      layers: 0,
      latency: 0,
      tensors: [],
    };
    const result = await report({ ...settings, gates: [] }, createContext());
    expect(result.sparsity).toBeUndefined();
    await expect(
      report({ ...settings, gates: [parseGate('2:4 == 100 %')] }, createContext()),
    ).rejects.toThrow('no pattern to look at');
    await quantize({ ...sparse, solving: { effort: 'fast' } }, createContext());
    expect(existsSync(packed)).toBe(false);
  });
});

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

  it('loses less still when channels are permuted first, and says what each order keeps', async () => {
    const out = 'permuted.onnx';
    const permuted = await quantize({ ...request(out, 'joint'), permuteChannels: true }, createContext());
    expect(meanError(permuted)).toBeLessThan(meanError(joint));
    const { manifest } = permuted;
    expect(manifest.permutation).toEqual(permuted.permutation);
    expect(manifest.settings).toMatchObject({ permuteChannels: true });
    const sparse = permuted.layers.filter((l) => l.solver === '2:4 joint').map((l) => l.node);
    expect(manifest.permutation!.permuted.flatMap((p) => p.layers).sort()).toEqual(sparse.sort());
    expect(
      (await verifySparsity(readModel(join(folder, out)), pattern, new Set(sparse))).every(
        (c) => c.violations === 0,
      ),
    ).toBe(true);
  });

  it('follows rules of single layers: two patterns in one model, a layer kept dense, and no pattern where none fits', async () => {
    const base = request('rules.onnx', 'joint');
    const [first, second, third, ...rest] = joint.layers.filter((l) => l.solver === '2:4 joint');
    const rule = (node: string, sparsity: NonNullable<NodeRule['sparsity']>): NodeRule => ({
      match: { node },
      sparsity,
    });
    const nodes = [
      rule(first!.node, { pattern: '4:8', method: 'joint' }),
      rule(second!.node, { pattern: '2:4', method: 'magnitude' }),
      rule(third!.node, 'dense'),
    ];
    const { layers } = await quantize({ ...base, plan: { ...base.plan, nodes } }, createContext());
    const solverOf = (node: string): string | undefined => layers.find((l) => l.node === node)?.solver;
    expect([first, second, third, rest[0]].map((l) => solverOf(l!.node))).toEqual([
      '4:8 joint',
      '2:4 magnitude',
      undefined,
      '2:4 joint',
    ]);
    expect(readSidecar(join(folder, 'rules.sparse.safetensors'))).toHaveLength(2 + rest.length);
    const narrow = readModel(base.model).graph.nodes.find((n) => n.opType === 'Conv')!.name;
    const asked = rule(narrow, { pattern: '2:4', method: 'joint' });
    await expect(
      quantize({ ...base, plan: { ...base.plan, nodes: [asked] } }, createContext()),
    ).rejects.toMatchObject({
      code: 'E_UNSUPPORTED',
      message: `a rule asks for 2:4 in '${narrow}', but its 1 input channels are no multiple of 4 (2:4)`,
    });
  });

  it('names the reasons when no layer can be sparse', async () => {
    const float = request('none.onnx', 'joint');
    await expect(
      quantize({ ...float, plan: { ...float.plan, weights: 'nf4' } }, createContext()),
    ).rejects.toMatchObject({ code: 'E_UNSUPPORTED', message: 'no layer can be 2:4 sparse' });
  });
});
