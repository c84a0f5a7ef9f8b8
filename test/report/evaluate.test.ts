import { describe, expect, it } from 'vitest';
import { createContext } from '../../src/core/index.js';
import { openSession } from '../../src/engine/index.js';
import { compareOutput } from '../../src/report/compare-outputs.js';
import { evaluate } from '../../src/report/evaluate.js';
import { measureLatency } from '../../src/report/latency.js';
import { loadMetric } from '../../src/report/metrics.js';
import { tensor } from '../../src/tensor/index.js';
import { batches, floatModel, quantizedModel } from './models.js';

async function run(metrics: string[] = ['top1'], scores?: string): ReturnType<typeof evaluate> {
  const [float, quantized] = [await openSession(floatModel()), await openSession(quantizedModel())];
  const options = {
    metrics: await Promise.all(metrics.map(loadMetric)),
    samples: 16,
    ...(scores === undefined ? {} : { scores }),
  };
  return evaluate(float, quantized, batches(), options, createContext());
}

describe('evaluate', () => {
  it('scores both models and their distance over all batches', async () => {
    const { metrics, outputs } = await run(['top1', 'auc']);
    const [top1] = metrics;
    expect(top1).toMatchObject({ name: 'top1', drop: top1!.float - top1!.quantized });
    expect(metrics.map((m) => m.name)).toEqual(['top1', 'auc']);
    const [logits] = outputs;
    expect(logits!.sqnr).toBeGreaterThan(20);
    expect(logits!.sqnr).toBeLessThan(60);
    expect(logits!.cosine).toBeGreaterThan(0.99);
    expect(logits!.kl).toBeGreaterThan(0);
  });

  it('is exact for a model against itself', async () => {
    const session = await openSession(floatModel());
    const { metrics, outputs } = await evaluate(
      session,
      session,
      batches(),
      { metrics: [await loadMetric('top1')], samples: 16 },
      createContext(),
    );
    expect(metrics[0]).toMatchObject({ drop: 0, relative: 0 });
    expect(outputs[0]).toMatchObject({ sqnr: 999, kl: 0, agreement: 100 });
    expect(outputs[0]!.cosine).toBeCloseTo(1, 12);
  });

  it('names the outputs there are when the wanted one is missing', async () => {
    await expect(run(['top1'], 'logit')).rejects.toMatchObject({
      code: 'E_USAGE',
      fix: ["Did you mean 'logits'?", 'Its outputs are logits.'],
    });
  });

  it('stops between batches when interrupted', async () => {
    const session = await openSession(floatModel());
    const abort = new AbortController();
    function* interrupted(): ReturnType<typeof batches> {
      yield* batches(4);
      abort.abort();
      yield* batches(4);
    }
    const ctx = createContext({ signal: abort.signal });
    await expect(
      evaluate(session, session, interrupted(), { metrics: [], samples: 8 }, ctx),
    ).rejects.toMatchObject({ code: 'E_INTERRUPTED' });
  });
});

describe('compareOutput', () => {
  const rows = (values: number[]): ReturnType<typeof tensor> =>
    tensor('float32', [values.length / 2, 2], values);

  it('takes rows that are distributions as they are, and others as logits', () => {
    const given = compareOutput('p');
    given.add(rows([0.5, 0.5]), rows([0.25, 0.75]));
    expect(given.result().kl).toBeCloseTo(0.5 * Math.log(2) + 0.5 * Math.log(2 / 3), 6);
    const logits = compareOutput('z');
    logits.add(rows([3, 3]), rows([1, 1]));
    expect(logits.result()).toMatchObject({ kl: 0, agreement: 100 });
  });

  it('speaks of classes only where the shape allows it', () => {
    const image = compareOutput('image');
    image.add(tensor('float32', [1, 1, 2, 2], [1, 2, 3, 4]), tensor('float32', [1, 1, 2, 2], [1, 2, 3, 5]));
    expect(Object.keys(image.result())).toEqual(['name', 'sqnr', 'cosine']);
  });

  it('calls values that are no numbers broken', () => {
    const nan = compareOutput('y');
    nan.add(rows([1, 2]), rows([NaN, 2]));
    expect(nan.result().sqnr).toBe(-999);
  });
});

describe('measureLatency', () => {
  it.each([
    [1, 500],
    [10, 100],
    [1000, 20],
  ])('makes as many runs of %d ms as take about two seconds, within limits', async (time, runs) => {
    let now = 0;
    const session = {
      inputs: [],
      outputs: [],
      run: async () => {
        now += time;
        return new Map<never, never>();
      },
      release: async () => undefined,
    };
    const options = { runs: 'auto', clock: () => now } as const;
    expect((await measureLatency(session, session, {}, options, createContext())).runs).toBe(runs);
  });

  it('alternates, swaps the order, drops the warm-up, and gives median and quartiles', async () => {
    let now = 0;
    const order: string[] = [];
    const session = (name: string, times: number[]): Awaited<ReturnType<typeof openSession>> => ({
      inputs: [],
      outputs: [],
      run: async () => {
        order.push(name);
        now += times.shift() ?? 1;
        return new Map();
      },
      release: async () => undefined,
    });
    const float = session('f', [900, 900, 900, 4, 8, 6, 2]);
    const quantized = session('q', [900, 900, 900, 1, 1, 1, 1]);
    const result = await measureLatency(float, quantized, {}, { runs: 4, clock: () => now }, createContext());
    expect(result).toEqual({
      float: { median: 5, low: 3.5, high: 6.5 },
      quantized: { median: 1, low: 1, high: 1 },
      runs: 4,
    });
    expect(order.join('')).toBe('fqqffqfqqffqqf');
  });
});
