/** Bias correction from the quantize program: nearest rounding with it comes closer to float on images never seen. */
import { beforeAll, describe, expect, it } from 'vitest';
import { join } from 'node:path';
import { createContext } from '../../src/core/index.js';
import { readModel } from '../../src/onnx/index.js';
import { quantize, type QuantizeRequest, type QuantizeResult } from '../../src/pipeline/index.js';
import { DEFAULT_SETTINGS, type PlanSettings } from '../../src/plan/index.js';
import { FASHION_CNN, fashionImages, fashionRequest, fashionSqnr } from '../helpers/fashion.js';
import { temporaryFolder } from '../helpers/folder.js';

const folder = temporaryFolder();

function request(
  out: string,
  plan: Partial<PlanSettings>,
  changes: Partial<QuantizeRequest> = {},
): QuantizeRequest {
  return fashionRequest(
    join(folder, out),
    { activations: DEFAULT_SETTINGS.activations, weights: 'int4', granularity: 'tensor', ...plan },
    {
      weightRange: 'range',
      statistics: { kind: 'data', spec: fashionImages('calibration', [0, 96]) },
      dryRun: false,
      ...changes,
    },
  );
}

const run = (r: QuantizeRequest): Promise<QuantizeResult> => quantize(r, createContext());

describe('bias correction', () => {
  let plain = 0;
  beforeAll(async () => {
    const r = request('plain.onnx', { solver: 'nearest' });
    expect((await run(r)).biases).toEqual([]);
    plain = await fashionSqnr(r.out);
  });

  it.each(['analytic', 'empirical'] as const)('%s brings held-out logits closer to float', async (way) => {
    const r = request(`${way}.onnx`, { solver: 'nearest' }, { biasCorrection: way });
    const { biases } = await run(r);
    expect(biases).toHaveLength(17);
    for (const { fit } of biases) expect(fit.after).toBeLessThanOrEqual(fit.before * (1 + 1e-6));
    const gains = biases.map(({ heldOut }) => Math.log((heldOut?.before ?? NaN) / (heldOut?.after ?? NaN)));
    expect(gains.reduce((a, b) => a + b, 0)).toBeGreaterThan(0);
    expect(await fashionSqnr(r.out)).toBeGreaterThan(plain + 1);
  });

  it.each(['power4', 'codebook3'])(
    'sees weights in %s as they are written, with the exponent or levels chosen for them',
    async (weights) => {
      const plan = { weights, solver: 'nearest' };
      const [without, corrected] = [
        request(`${weights}.onnx`, plan),
        request(`${weights}-corrected.onnx`, plan, { biasCorrection: 'analytic' }),
      ];
      await run(without);
      await run(corrected);
      expect(await fashionSqnr(corrected.out)).toBeGreaterThan((await fashionSqnr(without.out)) + 1);
    },
  );

  it('leaves layers alone whose solver corrected them, and those that a rule names', async () => {
    const first = readModel(FASHION_CNN).graph.nodes.find((n) => n.opType === 'Conv')?.name ?? '';
    const rules = [{ match: { node: first }, biasCorrection: false }];
    const kept = await run(
      request('rule.onnx', { solver: 'nearest', nodes: rules }, { biasCorrection: 'analytic' }),
    );
    expect(kept.biases).toHaveLength(16);
    expect(kept.biases.map((b) => b.node)).not.toContain(first);
    const solved = await run(request('solved.onnx', { solver: 'gptq' }, { biasCorrection: 'analytic' }));
    expect(solved.layers).toHaveLength(17);
    expect(solved.biases).toEqual([]);
  });

  it('says what is missing without data', async () => {
    const { statistics: _none, ...rest } = request(
      'none.onnx',
      { activations: 'float', solver: 'nearest' },
      { biasCorrection: 'empirical' },
    );
    await expect(run(rest)).rejects.toMatchObject({ code: 'E_USAGE' });
  });
});
