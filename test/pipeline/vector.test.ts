/** Vector formats from the quantize program: words in the file and in the manifest, and what they gain on a real network. */
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { createContext, required } from '../../src/core/index.js';
import { auditKernels, openSession, withOutputs } from '../../src/engine/index.js';
import { dequantize, elementOrder, reductionMatrix, storedFormat } from '../../src/formats/index.js';
import { loadTensor, readModel, tensorBytes } from '../../src/onnx/index.js';
import {
  quantize,
  readManifest,
  type QuantizeRequest,
  type QuantizeResult,
} from '../../src/pipeline/index.js';
import { type PlanSettings } from '../../src/plan/index.js';
import { codesOfPlaces } from '../../src/solve/round-vectors.js';
import { groupingOf } from '../../src/solve/round-to-nearest.js';
import { tensor, toFloat32 } from '../../src/tensor/index.js';
import { fashionRequest, heldOutError } from '../helpers/fashion.js';
import { temporaryFolder } from '../helpers/folder.js';

const folder = temporaryFolder();

const request = (plan: Partial<PlanSettings>, changes: Partial<QuantizeRequest> = {}): QuantizeRequest =>
  fashionRequest(join(folder, 'out.onnx'), plan, changes);

const run = (plan: Partial<PlanSettings>, changes: Partial<QuantizeRequest> = {}): Promise<QuantizeResult> =>
  quantize(request(plan, changes), createContext({ seed: 0, threads: 1 }));

describe('quantize --weights vectorNdD', () => {
  it.each([
    ['vector4d2', 'tensor'],
    ['vector6d4', 'channel'],
  ] as const)(
    'writes what the manifest says, and the runtime reads it so: %s, scales by %s',
    async (format, granularity) => {
      const { out } = request({});
      await run({ weights: format, solver: 'auto', granularity }, { dryRun: false });
      const { plan, weights } = readManifest(join(folder, 'out.fxq.json'));
      expect(new Set(Object.values(weights ?? {}).map((w) => w.solver))).toEqual(new Set(['descent']));
      const model = readModel(out);
      for (const planned of Object.values(plan.weights).slice(0, 4)) {
        const { vector, levels } = storedFormat(planned.format, planned.levels);
        expect([planned.format, vector?.size]).toEqual([format, format === 'vector4d2' ? 2 : 4]);
        const stored = required(model.graph.initializers.get(`${planned.initializer}_quantized`), 'codes');
        const table = required(model.graph.initializers.get(`${planned.initializer}_words`), 'words');
        expect(Float32Array.from(loadTensor(table).data as Int8Array)).toEqual(levels);
        const value = `${planned.initializer}_dequantized`;
        const session = await openSession(withOutputs(model, [value], true), { optimization: 'none' });
        const [input] = model.graph.inputs;
        const feeds = { [input?.name ?? '']: tensor('float32', [1, 1, 28, 28]) };
        const read = required((await session.run(feeds)).get(value), value);
        await session.release();
        const { dims } = read;
        const matrix = reductionMatrix(dims, required(planned.reduction, 'a reduction'));
        expect(stored.dims).toEqual([matrix.rows, Math.ceil(matrix.cols / vector!.size)]);
        const order = elementOrder(matrix);
        const codes = new Int32Array(order.length);
        codesOfPlaces(
          Int32Array.from(loadTensor(stored).data as Uint8Array),
          matrix.cols,
          vector!.size,
        ).forEach((code, at) => (codes[order[at]!] = code));
        const parameters = {
          scale: Float32Array.from(planned.scale),
          zeroPoint: Int32Array.from(planned.zeroPoint),
        };
        const expected = dequantize(
          storedFormat(planned.format, planned.levels),
          { codes, ...parameters },
          groupingOf(planned.granularity, dims),
        );
        expect(toFloat32(read)).toEqual(expected);
      }
    },
    30_000,
  );

  it('does better than single levels and uniform codes of as many bits on samples not seen', async () => {
    const [vectors, single, uniform] = [
      await run({ weights: 'vector4d2', solver: 'auto' }),
      await run({ weights: 'codebook2', solver: 'auto' }),
      await run({ weights: 'int2', solver: 'auto' }),
    ];
    expect(heldOutError(single) - heldOutError(vectors)).toBeGreaterThan(0.05);
    expect(heldOutError(uniform) - heldOutError(vectors)).toBeGreaterThan(0.2);
  });

  it('learns words without data, too, and takes half the bytes of codes for single weights', async () => {
    const [vectors, single] = [
      await run({ weights: 'vector4d2', solver: 'nearest' }),
      await run({ weights: 'int4', solver: 'nearest' }),
    ];
    expect(vectors.layers).toEqual([]);
    const tables = Object.values(vectors.plan.weights).map((w) => JSON.stringify(w.levels));
    expect(new Set(tables).size).toBe(tables.length);
    const bytes = ({ model }: QuantizeResult, name: RegExp): number =>
      [...model.graph.initializers].reduce((sum, [key, t]) => sum + (name.test(key) ? tensorBytes(t) : 0), 0);
    // Rows of 9 weights, of which the network has some, take 5 vectors.
    const share = bytes(vectors, /_quantized$/) / bytes(single, /_quantized$/);
    expect(share).toBeGreaterThanOrEqual(0.5);
    expect(share).toBeLessThan(0.53);
    expect(bytes(vectors, /_words$/)).toBe(32 * tables.length);
  });

  it.each(['uint8', 'dynamic'])('keeps its weights beside activations in %s', async (activations) => {
    const settings = { ...request({}).plan, weights: 'vector8d4', solver: 'nearest', activations };
    const { model } = await run(settings);
    const { integer } = await auditKernels(model);
    expect(integer).toBe(0);
  });

  it('refuses what has no codes of single weights, with the node and what to do', async () => {
    const weights = 'vector4d2';
    const whole = { weights, activations: 'uint8' };
    for (const emit of ['integer', 'cpp'] as const)
      await expect(run(whole, { emit })).rejects.toMatchObject({
        message: expect.stringMatching(
          /Conv 'stem\/conv'.*vector4d2, whose codes are not integers/,
        ) as string,
      });
    await expect(
      run({ weights }, { solving: { effort: 'fast', sparsity: { pattern: '2:4', method: 'joint' } } }),
    ).rejects.toThrow(/no layer can be 2:4 sparse/);
    await expect(run({ weights, solver: 'adaround' })).rejects.toThrow(/not the levels of vector4d2/);
    await expect(run({ weights, solver: 'block' })).rejects.toThrow(/not the levels of vector4d2/);
    await expect(run({ weights, solver: 'stochastic' })).rejects.toThrow(/vector4d2/);
    await expect(run({ ...whole, activations: weights })).rejects.toMatchObject({ code: 'E_FORMAT' });
  });
});
