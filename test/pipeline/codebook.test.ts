/** Codebooks from the quantize program: learned levels in the file, in the manifest, and what they gain on a real network. */
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { createContext, required } from '../../src/core/index.js';
import { openSession, withOutputs } from '../../src/engine/index.js';
import { dequantize, storedFormat } from '../../src/formats/index.js';
import { loadTensor, readModel } from '../../src/onnx/index.js';
import {
  quantize,
  readManifest,
  type QuantizeRequest,
  type QuantizeResult,
} from '../../src/pipeline/index.js';
import { type PlanSettings } from '../../src/plan/index.js';
import { groupingOf } from '../../src/solve/round-to-nearest.js';
import { tensor, toFloat32 } from '../../src/tensor/index.js';
import { fashionRequest, heldOutError } from '../helpers/fashion.js';
import { temporaryFolder } from '../helpers/folder.js';

const folder = temporaryFolder();

const request = (plan: Partial<PlanSettings>, changes: Partial<QuantizeRequest> = {}): QuantizeRequest =>
  fashionRequest(join(folder, 'out.onnx'), plan, changes);

const run = (plan: Partial<PlanSettings>, changes: Partial<QuantizeRequest> = {}): Promise<QuantizeResult> =>
  quantize(request(plan, changes), createContext({ seed: 0, threads: 1 }));

describe('quantize --weights codebookN', () => {
  it.each(['tensor', 'channel'] as const)(
    'writes what the manifest says, and the runtime reads it so: scales by %s',
    async (granularity) => {
      const { out } = request({});
      await run({ weights: 'codebook3', solver: 'auto', granularity }, { dryRun: false });
      const { plan, weights } = readManifest(join(folder, 'out.fxq.json'));
      expect(Object.values(weights ?? {}).map((w) => w.solver)).toContain('descent');
      const model = readModel(out);
      for (const planned of Object.values(plan.weights).slice(0, 4)) {
        expect(planned.format).toBe('codebook3');
        expect(planned.levels).toHaveLength(8);
        const stored = required(model.graph.initializers.get(`${planned.initializer}_quantized`), 'codes');
        const codes = Int32Array.from(loadTensor(stored).data as Uint8Array);
        const grouping = groupingOf(planned.granularity, stored.dims);
        const parameters = {
          scale: Float32Array.from(planned.scale),
          zeroPoint: Int32Array.from(planned.zeroPoint),
        };
        const expected = dequantize(
          storedFormat(planned.format, planned.levels),
          { codes, ...parameters },
          grouping,
        );
        const value = `${planned.initializer}_dequantized`;
        const session = await openSession(withOutputs(model, [value], true), { optimization: 'none' });
        const [input] = model.graph.inputs;
        const feeds = { [input?.name ?? '']: tensor('float32', [1, 1, 28, 28]) };
        expect(toFloat32(required((await session.run(feeds)).get(value), value))).toEqual(expected);
        await session.release();
      }
    },
    20_000,
  );

  it('does better than uniform codes of as many bits on samples not seen', async () => {
    const gains: number[] = [];
    for (const bits of [2, 4]) {
      const [codebook, uniform] = [
        await run({ weights: `codebook${bits}`, solver: 'auto' }),
        await run({ weights: `int${bits}`, solver: 'auto' }),
      ];
      gains.push(heldOutError(uniform) - heldOutError(codebook));
    }
    expect(Math.min(...gains)).toBeGreaterThan(0.15);
  });

  it('learns levels without data, too', async () => {
    const { plan, layers } = await run({ weights: 'codebook4', solver: 'nearest' });
    expect(layers).toEqual([]);
    const tables = Object.values(plan.weights).map((w) => JSON.stringify(w.levels));
    expect(new Set(tables).size).toBe(tables.length);
  });

  it('refuses what has no codes that are integers, with the node and what to do', async () => {
    const weights = 'codebook4';
    const whole = { weights, activations: 'uint8' };
    for (const emit of ['integer', 'cpp'] as const)
      await expect(run(whole, { emit })).rejects.toMatchObject({
        message: expect.stringMatching(
          /Conv 'stem\/conv'.*codebook4, whose codes are not integers/,
        ) as string,
      });
    await expect(
      run({ weights }, { solving: { effort: 'fast', sparsity: { pattern: '2:4', method: 'joint' } } }),
    ).rejects.toThrow(/no layer can be 2:4 sparse/);
    await expect(run({ weights, solver: 'adaround' })).rejects.toThrow(/not the levels of codebook4/);
    await expect(run({ weights, solver: 'stochastic' })).rejects.toThrow(/codebook4/);
    await expect(run({ ...whole, activations: weights })).rejects.toMatchObject({ code: 'E_FORMAT' });
  });
});
