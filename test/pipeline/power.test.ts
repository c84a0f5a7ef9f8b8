/** Power formats from the quantize program: exponents chosen for each tensor, learned where there are data. */
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { createContext } from '../../src/core/index.js';
import { quantize, type QuantizeRequest, type QuantizeResult } from '../../src/pipeline/index.js';
import { type PlanSettings } from '../../src/plan/index.js';
import { fashionRequest, heldOutError } from '../helpers/fashion.js';
import { temporaryFolder } from '../helpers/folder.js';

const folder = temporaryFolder();
const LAYERS = '/head|classifier/';

const request = (plan: Partial<PlanSettings>): QuantizeRequest =>
  fashionRequest(join(folder, 'out.onnx'), {
    nodes: [
      { match: { node: '/.*/' }, quantize: false },
      { match: { node: LAYERS }, quantize: true },
    ],
    ...plan,
  });

const run = (plan: Partial<PlanSettings>): Promise<QuantizeResult> =>
  quantize(request(plan), createContext({ seed: 0 }));

describe('quantize --weights power4', () => {
  it('chooses an exponent for each tensor and writes its levels', async () => {
    const { plan, model } = await run({ weights: 'power4', solver: 'nearest' });
    const formats = Object.values(plan.weights).map((w) => w.format);
    expect(formats.length).toBeGreaterThan(1);
    for (const format of formats) expect(format).toMatch(/^power4a[01]\.\d+$/);
    expect(new Set(formats).size).toBeGreaterThan(1);
    const [name] = Object.keys(plan.weights);
    const a = Number(plan.weights[name ?? '']?.format.slice('power4a'.length));
    const table = model.graph.initializers.get(`${name}_levels`);
    const stored = table?.source.kind === 'memory' ? (table.source.tensor.data as Float32Array) : [];
    expect(stored[1]).toBeCloseTo(-((6 / 7) ** (1 / a)), 5);
  });

  it('learns it where there are data: better than a = 1 and than nearest, on samples not seen', async () => {
    const learned = await run({ weights: 'power4', solver: 'auto' });
    const straight = await run({ weights: 'power4a1', solver: 'auto' });
    expect(learned.layers.map((l) => l.solver)).toContain('nupes');
    for (const { weight, exponent } of learned.layers)
      expect(learned.plan.weights[weight]?.format).toBe(`power4a${exponent}`);
    expect(heldOutError(learned)).toBeLessThan(heldOutError(straight) - 0.05);
    for (const { error } of learned.layers)
      expect(error.heldOut).toBeLessThan(0.9 * (error.heldOutNearest ?? 0));
  });

  it('refuses solvers of integer codes, and nupes for integer formats', async () => {
    await expect(run({ weights: 'power4', solver: 'gptq' })).rejects.toThrow(
      /moves codes of integer formats/,
    );
    await expect(run({ weights: 'int4', solver: 'nupes' })).rejects.toThrow(/power formats, not of int4/);
  });
});
