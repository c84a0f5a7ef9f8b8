import { describe, expect, it } from 'vitest';
import { createContext } from '../../src/core/index.js';
import { openSession, withOutputs } from '../../src/engine/index.js';
import { graph, model, node, value } from '../../src/onnx/index.js';
import { errorSums, sqnr, tensor, toFloat32, type ErrorSums, NO_ERROR } from '../../src/tensor/index.js';
import { measureLayers } from '../../src/report/layer-errors.js';
import { type LayerResult } from '../../src/report/result.js';
import { batches, floatModel, quantizedModel, type QuantizedOptions } from './models.js';

async function layers(options: QuantizedOptions = {}, samples = 16): Promise<Map<string, LayerResult>> {
  const rows = await measureLayers(
    floatModel(),
    quantizedModel(options),
    batches(),
    { samples },
    createContext(),
  );
  return new Map(rows.map((row) => [row.value, row]));
}

describe('measureLayers', () => {
  it('lists the values of both models in graph order, with node and weight type', async () => {
    const rows = [...(await layers()).values()];
    expect(rows.map(({ value, node, opType, weights }) => [value, node, opType, weights])).toEqual([
      ['h', 'fc1', 'Gemm', 'int8'],
      ['r', 'relu', 'Relu', undefined],
      ['logits', 'fc2', 'MatMul', 'int8'],
    ]);
    expect(rows.reduce((sum, row) => sum + row.share, 0)).toBeCloseTo(100, 6);
  });

  it('accumulates what two plain runs of the models show', async () => {
    const float = await openSession(withOutputs(floatModel(), ['h', 'r']));
    const quantized = await openSession(withOutputs(quantizedModel(), ['h', 'r']), { optimization: 'none' });
    const sums = new Map<string, ErrorSums>();
    for (const { inputs } of batches()) {
      const [a, b] = [await float.run(inputs), await quantized.run(inputs)];
      for (const [name, t] of a)
        sums.set(name, errorSums(toFloat32(t), toFloat32(b.get(name)!), sums.get(name) ?? NO_ERROR));
    }
    const measured = await layers();
    for (const [name, s] of sums) expect(measured.get(name)?.accumulated).toBeCloseTo(sqnr(s), 3);
  });

  it('gives a layer its own error only, not that of the layers before it', async () => {
    const fine = await layers();
    const coarse = await layers({ hiddenScale: 0.05, step2: 0.3 });
    expect(coarse.get('h')).toEqual({ ...fine.get('h'), share: expect.any(Number) });
    expect(coarse.get('logits')!.own).toBeLessThan(fine.get('logits')!.own - 10);
    expect(coarse.get('logits')!.share).toBeGreaterThan(90);
  });

  it('finds no own error in a layer that only passes on what came in', async () => {
    expect((await layers()).get('r')).toMatchObject({ own: 999, share: 0 });
  });

  it('measures the rounding of an activation for its readers', async () => {
    const [fine, coarse] = [await layers(), await layers({ hiddenScale: 0.5 })];
    expect(fine.get('h')?.activation).toBeUndefined();
    // Ten times the step costs 20 dB as long as nothing saturates.
    expect(fine.get('r')!.activation! - coarse.get('r')!.activation!).toBeGreaterThan(17);
    expect(fine.get('r')!.activation! - coarse.get('r')!.activation!).toBeLessThan(23);
  });

  it('looks through the conversions that end in a value and keeps to the samples asked for', async () => {
    const seen: number[] = [];
    const rows = await measureLayers(
      floatModel(),
      quantizedModel({ quantizeOutput: true }),
      batches(),
      { samples: 8, observe: (values) => void seen.push(values.get('r')!.dims[0]!) },
      createContext(),
    );
    expect(rows.at(-1)).toMatchObject({ value: 'logits', node: 'fc2', opType: 'MatMul' });
    expect(seen).toEqual([4, 4]);
  });

  it('is exact for a model compared with itself', async () => {
    const rows = await measureLayers(floatModel(), floatModel(), batches(), { samples: 4 }, createContext());
    expect(rows.map((r) => [r.own, r.accumulated, r.share])).toEqual([
      [999, 999, 0],
      [999, 999, 0],
      [999, 999, 0],
    ]);
  });

  it('notes that models without common values cannot be compared by layer', async () => {
    const other = model(
      graph({
        inputs: [value('x', 'float32', ['N', 8])],
        outputs: [value('y', 'float32', ['N', 8])],
        nodes: [node('Relu', ['x'], ['y'])],
        initializers: [['unused', tensor('float32', [1], [0])]],
      }),
    );
    const ctx = createContext();
    expect(await measureLayers(floatModel(), other, batches(), { samples: 4 }, ctx)).toEqual([]);
    expect(ctx.notes.map((n) => n.code)).toEqual(['no-shared-values']);
  });
});
