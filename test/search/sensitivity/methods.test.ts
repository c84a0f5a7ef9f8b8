import { describe, expect, test } from 'vitest';
import { createContext, hashValue } from '../../../src/core/index.js';
import { withGraph } from '../../../src/onnx/index.js';
import {
  SENSITIVITIES,
  compareSensitivities,
  estimateSensitivities,
  measureSensitivity,
  outputsOf,
  rankAgreement,
  sampleLosses,
  spearman,
  splitHalfReliability,
  type Study,
} from '../../../src/search/sensitivity/index.js';
import { type LayerCandidate, type SearchLayer } from '../../../src/search/layers.js';
import { simulate, type Realization } from '../../../src/search/simulate.js';
import { softmax, toFloat32 } from '../../../src/tensor/index.js';
import { loadTensor } from '../../../src/onnx/index.js';
import { model } from '../../helpers/model.js';
import { samplesOf, studyOf, weightsOnly } from '../study.js';

const ctx = createContext({ threads: 1 });

/** A residual network whose layers differ in depth, width and scale. */
const net = model`
  opset 18
  (float32[batch,3,8,8] x) => (float32[batch,6] y) {
    w0: float32[8,3,3,3] = random(scale=0.3)
    w1: float32[8,8,3,3] = random(scale=0.05)
    w2: float32[8,8,1,1] = random(scale=0.6)
    w3: float32[8,8,3,3] = random(scale=0.02)
    m: float32[8,6] = random(scale=2)
    a = [stem] Conv<pads=[1, 1, 1, 1]>(x, w0)
    ar = Relu(a)
    b = [left] Conv<pads=[1, 1, 1, 1]>(ar, w1)
    c = [right] Conv(ar, w2)
    d = Add(b, c)
    dr = Relu(d)
    e = [late] Conv<pads=[1, 1, 1, 1]>(dr, w3)
    f = Add(e, dr)
    g = GlobalAveragePool(f)
    h = Flatten(g)
    y = [head] MatMul(h, m)
  }`;
const candidates = [
  ...weightsOnly('int8', 'int4', 'int2'),
  { weights: 'int8', activations: 'uint4', granularity: 'channel', solver: 'nearest' } as const,
];
const FLOAT: LayerCandidate = {
  weights: 'float',
  activations: 'float',
  granularity: 'tensor',
  solver: 'none',
};
const study = (): Promise<Study> => studyOf(net, samplesOf('x', [3, 8, 8], 24), candidates);

async function realizations(
  s: Study,
  layers: readonly SearchLayer[],
  candidate: LayerCandidate,
): Promise<Map<string, Realization>> {
  const found = new Map<string, Realization>();
  for (const layer of layers) found.set(layer.node, await s.realize(layer, candidate));
  return found;
}

/** The whole network once for every group and candidate. */
async function bruteForce(s: Study, base = new Map<string, Realization>()): Promise<number[][]> {
  const layers = s.groups.flatMap((g) => g.layers);
  const rows: number[][] = [];
  for (const group of s.groups) {
    const row: number[] = [];
    for (const candidate of group.candidates) {
      const changed = new Map([...base, ...(await realizations(s, group.layers, candidate))]);
      const outputs = await outputsOf(
        withGraph(s.model, simulate(s.model.graph, layers, changed)),
        s.batches,
        s.output,
        ctx,
      );
      const losses = outputs.flatMap((o, b) => [...sampleLosses(s.loss, s.reference[b]!, o)]);
      row.push(losses.reduce((a, b) => a + b) / losses.length);
    }
    rows.push(row);
  }
  return rows;
}

describe('measured', () => {
  test('equals running the whole network for every candidate', async () => {
    const s = await study();
    const { loss, work, halves } = await measureSensitivity(s, ctx);
    // Weights and inputs are measured apart: int8 weights, and inputs in uint4.
    const parts = [...candidates.slice(0, 3), { ...FLOAT, activations: 'uint4' }];
    const groups = s.groups.map(({ layers }) => ({ layers, candidates: parts }));
    const expected = (await bruteForce({ ...s, groups })).map(([a = 0, b = 0, c = 0, d = 0]) => [
      a,
      b,
      c,
      a + d,
    ]);
    expect(loss.flat()).toBeAllclose(expected.flat(), { atol: 1e-7, rtol: 1e-3 });
    // Five layers, four candidates; the work counts what lies behind each change, and the walk itself.
    expect(work).toBeLessThan(0.8 * 5 * 4);
    const means = halves![0].map((row, g) => row.map((v, c) => (v + halves![1][g]![c]!) / 2));
    expect(means.flat()).toBeAllclose(loss.flat(), { atol: 1e-9, rtol: 1e-6 });
  });

  test('what every candidate does to its input is measured once, and shared by the groups', async () => {
    const s = await study();
    const weights = [candidates[0]!, candidates[1]!];
    const withInputs = weights.map((c) => ({ ...c, activations: 'uint4' }));
    const of = (list: LayerCandidate[]) => ({
      ...s,
      groups: s.groups.map(({ layers }) => ({ layers, candidates: list })),
    });
    const [alone, both] = [
      await measureSensitivity(of(weights), ctx),
      await measureSensitivity(of(withInputs), ctx),
    ];
    const all = s.groups.map((g) => g.layers[0]!);
    const rounded = await realizations(s, all, { ...FLOAT, activations: 'uint4' });
    const outputs = await outputsOf(
      withGraph(s.model, simulate(s.model.graph, all, rounded)),
      s.batches,
      s.output,
      ctx,
    );
    const losses = outputs.flatMap((o, b) => [...sampleLosses(s.loss, s.reference[b]!, o)]);
    const share = losses.reduce((a, b) => a + b) / losses.length / 5;
    expect(both.loss.flat()).toBeAllclose(
      alone.loss.flat().map((l) => l + share),
      { atol: 1e-9, rtol: 1e-5 },
    );
    expect(both.work).toBeCloseTo(alone.work + 1, 10);
  });

  test('measures around other candidates, too', async () => {
    const s = await study();
    const base = await realizations(
      s,
      s.groups.map((g) => g.layers[0]!),
      candidates[1]!,
    );
    const { loss } = await measureSensitivity(s, ctx, base);
    expect(loss.flat()).toBeAllclose((await bruteForce(s, base)).flat(), { atol: 1e-7, rtol: 1e-3 });
  });

  test('measures layers that must agree as one', async () => {
    const s = await study();
    const [stem, left, right, late, head] = s.groups.map((g) => g.layers[0]!);
    const groups = [[stem!, late!], [left!, right!], [head!]].map((layers) => ({
      layers,
      candidates: candidates.slice(0, 3),
    }));
    const tied = { ...s, groups };
    const { loss } = await measureSensitivity(tied, ctx);
    expect(loss.flat()).toBeAllclose((await bruteForce(tied)).flat(), { atol: 1e-7, rtol: 1e-3 });
  });
});

test('an interrupted measurement goes on where it stopped', async () => {
  const known = new Map<string, unknown>();
  const cache = {
    read: (key: unknown) => known.get(hashValue(key)),
    write: (key: unknown, value: unknown) => void known.set(hashValue(key), value),
  };
  const s = { ...(await study()), memory: { cache, key: 'k' } };
  let calls = 0;
  const failing: Study = {
    ...s,
    realize: (layer, candidate) =>
      calls++ < 9 ? s.realize(layer, candidate) : Promise.reject(new Error('stopped')),
  };
  await expect(measureSensitivity(failing, ctx)).rejects.toThrowError('stopped');
  expect(known.size).toBe(2);
  calls = 0;
  const counting: Study = { ...s, realize: (layer, candidate) => (calls++, s.realize(layer, candidate)) };
  const resumed = await measureSensitivity(counting, ctx);
  expect(calls).toBe(3 * 4);
  expect(resumed).toEqual(await measureSensitivity(await study(), ctx));
  // Other surroundings are another question.
  await measureSensitivity(s, ctx, await realizations(s, [s.groups[0]!.layers[0]!], candidates[0]!));
  expect(known.size).toBe(10);
});

describe('cheap methods', () => {
  test.each([
    ['gram', 0.9],
    ['hessian', 0.75],
    ['importance', 0.5],
  ] as const)('%s ranks layers like the measured one', async (name, least) => {
    const s = await study();
    const [measured, cheap] = [await measureSensitivity(s, ctx), await SENSITIVITIES[name](s, ctx)];
    expect(rankAgreement(measured, cheap).overall).toBeGreaterThan(least);
    expect(cheap.work).toBeLessThan(10);
    expect(await SENSITIVITIES[name](s, createContext({ threads: 1 }))).toEqual(cheap);
    // Batches of the two halves differ, and together they are the whole.
    const [even, odd] = cheap.halves ?? [[], []];
    expect(even).not.toEqual(odd);
    cheap.loss.forEach((row, g) =>
      row.forEach((l, c) => expect((2 * even[g]![c]! + odd[g]![c]!) / 3).toBeCloseTo(l, 6)),
    );
  });

  test('are compared with the measured one, and one without an answer says why', async () => {
    const s = await study();
    const measured = await measureSensitivity(s, ctx);
    const compared = compareSensitivities(measured, await estimateSensitivities(s, ctx));
    expect(compared.map((c) => c.method)).toEqual(['measured', 'gram', 'importance', 'hessian']);
    expect(compared[0]!.agreement).toBeUndefined();
    for (const { agreement, reliability } of compared.slice(1)) {
      expect(agreement!.overall).toBeLessThanOrEqual(1);
      expect(reliability!.layers).toBeGreaterThan(0.5);
    }
    const strange = model`
      opset 18
      (float32[batch,5] x) => (float32[batch,4] y) {
        w: float32[5,4] = random(scale=0.5)
        z = [fc] MatMul(x, w)
        y = [curve] LpNormalization(z)
      }`;
    const other = await studyOf(strange, samplesOf('x', [5], 16), weightsOnly('int4', 'int2'));
    const [, gram] = compareSensitivities(
      await measureSensitivity(other, ctx),
      await estimateSensitivities(other, ctx),
    );
    expect(gram).toEqual({
      method: 'gram',
      missing: expect.stringMatching(/LpNormalization.*curve|curve.*LpNormalization/),
    });
  });

  /** z = xW with softmax: everything has a closed form. */
  const linear = model`
    opset 18
    (float32[batch,5] x) => (float32[batch,4] y) {
      w: float32[5,4] = random(scale=0.5)
      y = [fc] MatMul(x, w)
    }`;

  test('the Hessian trace is that of the softmax regression', async () => {
    const s = await studyOf(linear, samplesOf('x', [5], 4096), weightsOnly('int4'));
    // Tr = E|x|² Σ p(1 − p)
    let exact = 0;
    s.batches.forEach((batch, b) => {
      const [x, z] = [toFloat32(batch.inputs.get('x')!), toFloat32(s.reference[b]!)];
      for (let i = 0; i < batch.count; i++) {
        const norm = x.subarray(i * 5, i * 5 + 5).reduce((sum, v) => sum + v * v, 0);
        exact += norm * softmax(z.subarray(i * 4, i * 4 + 4)).reduce((sum, p) => sum + p * (1 - p), 0);
      }
    });
    const trace = exact / 4096;
    const weight = loadTensor(linear.graph.initializers.get('w')!).data as Float32Array;
    const { weight: rounded } = await s.realize(s.groups[0]!.layers[0]!, s.groups[0]!.candidates[0]!);
    const square = rounded.reduce((sum, w, i) => sum + (w - weight[i]!) ** 2, 0);
    const [estimate] = (await SENSITIVITIES.hessian(s, ctx)).loss[0]!;
    expect(estimate! / (((trace / 20) * square) / 2)).toBeCloseTo(1, 1);
  });

  test('importance is Σ|w · xz′| of the squared output', async () => {
    const s = await studyOf(linear, samplesOf('x', [5], 8), weightsOnly('int4'));
    const [x, z] = [toFloat32(s.batches[0]!.inputs.get('x')!), toFloat32(s.reference[0]!)];
    const weight = loadTensor(linear.graph.initializers.get('w')!).data as Float32Array;
    let sum = 0;
    for (let k = 0; k < 5; k++)
      for (let c = 0; c < 4; c++) {
        let gradient = 0;
        for (let i = 0; i < 8; i++) gradient += (x[i * 5 + k]! * z[i * 4 + c]!) / 4;
        sum += Math.abs(weight[k * 4 + c]! * gradient);
      }
    expect((await SENSITIVITIES.importance(s, ctx)).loss[0]![0]).toBeCloseTo((sum / 8) * 4 ** -4, 6);
  });
});

describe('ranks', () => {
  test.each([
    [[1, 2, 3, 4], [10, 20, 30, 40], 1],
    [[1, 2, 3, 4], [4, 3, 2, 1], -1],
    [[1, 2, 3, 4, 5], [2, 1, 4, 3, 5], 0.8],
    // Ties share their mean rank (scipy.stats.spearmanr).
    [[1, 2, 2, 3], [1, 2, 3, 4], 0.9486832980505138],
  ])('Spearman of %j and %j', (a, b, expected) => {
    expect(spearman(a, b)).toBeCloseTo(expected, 10);
  });

  test('reliability is 1 for equal halves, and low for noise', () => {
    const of = (a: number[], b: number[]) =>
      splitHalfReliability({ method: '', loss: [a], halves: [[a], [b]], work: 0 });
    expect(of([1, 2, 3], [2, 4, 6])?.overall).toBeCloseTo(1, 10);
    expect(of([1, 2, 3, 4], [3, 1, 4, 2])?.overall).toBeCloseTo(0, 10);
    expect(splitHalfReliability({ method: '', loss: [], work: 0 })).toBeUndefined();
  });
});
