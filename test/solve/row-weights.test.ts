/** Weights of rows: closed form at the logits, sums that count rows by them, and a network that shows what they are for. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { createContext, createRng, type Rng } from '../../src/core/index.js';
import { openSession } from '../../src/engine/index.js';
import { graph, model, node, storeTensor, value, writeModel } from '../../src/onnx/index.js';
import { quantize, type QuantizeRequest } from '../../src/pipeline/index.js';
import { DEFAULT_SETTINGS } from '../../src/plan/index.js';
import { rowWeights } from '../../src/solve/importance/row-weights.js';
import { collectMoments, findWeightedLayers, type LayerData, type Moments } from '../../src/solve/index.js';
import { readBatches } from '../../src/solve/moments/batches.js';
import { type RowWeights } from '../../src/solve/moments/patches.js';
import { softmax, tensor, toFloat32, type Tensor, writeNpz } from '../../src/tensor/index.js';
import { temporaryFolder } from '../helpers/folder.js';
import { toyImages, toyNetwork } from './block/toy-network.js';

const ctx = createContext();
const random = (rng: Rng, dims: readonly number[], scale = 1): Tensor => {
  const length = dims.reduce((a, b) => a * b, 1);
  return tensor(
    'float32',
    dims,
    Float32Array.from({ length }, () => scale * rng.normal()),
  );
};

/** Rows of one tensor as data. */
function dataOf(name: string, all: Tensor): LayerData {
  const samples = all.dims[0] ?? 0;
  const size = all.data.length / samples;
  return {
    samples,
    carry: new Map(),
    async *batches(wanted, from = 0, to = samples) {
      for (let first = from; first < to; first += wanted) {
        const count = Math.min(wanted, to - first);
        const part = toFloat32(all).slice(first * size, (first + count) * size);
        yield {
          first,
          count,
          inputs: new Map([[name, tensor('float32', [count, ...all.dims.slice(1)], part)]]),
        };
      }
    },
  };
}

it('is the mean of p(1 − p) at the logits, relative to its mean, with the floor', async () => {
  const rng = createRng(7);
  const w = random(rng, [8, 5]);
  const network = model(
    graph({
      name: 'g',
      inputs: [value('x', 'float32', ['N', 8])],
      outputs: [value('z', 'float32', ['N', 5])],
      nodes: [node('MatMul', ['x', 'w'], ['z'], {}, { name: 'head' })],
      initializers: [['w', storeTensor(w)]],
    }),
    21,
  );
  const x = random(rng, [40, 8]);
  const batches = await readBatches(dataOf('x', x));
  const layers = findWeightedLayers(network.graph);
  const found = await rowWeights(network, layers, batches, { floor: 0.5, draws: 4000 }, ctx);
  const roots = (found.get('head') ?? []).flatMap((t) => [...toFloat32(t)]);
  const wanted = Array.from({ length: 40 }, (_, n) => {
    const z = Array.from({ length: 5 }, (_, c) =>
      Array.from({ length: 8 }, (_, k) => toFloat32(x)[n * 8 + k]! * toFloat32(w)[k * 5 + c]!).reduce(
        (a, b) => a + b,
      ),
    );
    return softmax(z).reduce((sum, p) => sum + p * (1 - p), 0);
  });
  const mean = wanted.slice(0, 32).reduce((a, b) => a + b) / 32;
  roots.forEach((root, n) => expect((1.5 * root * root) / (wanted[n]! / mean + 0.5)).toBeCloseTo(1, 1));
});

it('counts rows of every layer by their weights', async () => {
  const network = toyNetwork();
  const images = toyImages(2, 20);
  const layers = findWeightedLayers(network.graph);
  const data = dataOf('x', images);
  const batches = await readBatches(data);
  const weights = await rowWeights(network, layers, batches, { floor: 0.1, draws: 1 }, ctx);
  const settings = { rowsPerColumn: Infinity };
  const ones: RowWeights = new Map(
    [...weights].map(([name, all]) => [
      name,
      all.map((t) =>
        tensor(
          'float32',
          t.dims,
          toFloat32(t).map(() => 1),
        ),
      ),
    ]),
  );
  const [plain, even, weighted] = [
    await collectMoments(network, layers, data, ctx, settings),
    await collectMoments(network, layers, data, ctx, { ...settings, rowWeights: ones }),
    await collectMoments(network, layers, data, ctx, { ...settings, rowWeights: weights }),
  ];
  for (const layer of layers) {
    const of = (all: typeof plain): Moments => all.get(layer)!.fit;
    expect(of(even).count).toBe(of(plain).count);
    of(even).gram.forEach((h, g) => expect(h).toBeAllclose(of(plain).gram[g]!, { rtol: 1e-5, atol: 1e-6 }));
    expect(of(weighted).count / of(plain).count).toBeCloseTo(1, 4);
  }
  // The head sees one row a sample, so its sums can be checked row by row.
  const head = layers.at(-1)!;
  const inner = model({ ...network.graph, outputs: [value(head.input, 'float32', ['N', 8])] }, 21);
  const probe = await openSession(inner);
  const fit = batches.batches[0]!;
  const x = toFloat32((await probe.run(fit.inputs)).get(head.input)!);
  await probe.release();
  const roots = toFloat32(weights.get('head')![0]!);
  const gram = new Float64Array(64);
  let count = 0;
  for (let n = 0; n < fit.count; n++) {
    const w = roots[n]! ** 2;
    count += w;
    for (let i = 0; i < 8; i++)
      for (let j = 0; j < 8; j++) gram[i * 8 + j]! += w * x[n * 8 + i]! * x[n * 8 + j]!;
  }
  expect(weighted.get(head)!.fit.gram[0]).toBeAllclose(
    gram.map((v) => v / count),
    { rtol: 1e-4, atol: 1e-6 },
  );
});

const folder = temporaryFolder();

/** Rows of a few directions decide the output; white rows have most of the energy and hardly any effect. */
async function outputError(
  effort: 'fast' | 'balanced',
  importance: boolean,
  solver = 'descent',
): Promise<number> {
  const [file, out, data] = ['gated.onnx', 'out.onnx', 'data.npz'].map((name) => join(folder, name)) as [
    string,
    string,
    string,
  ];
  const rng = createRng(3);
  const [gate, x] = [random(rng, [128, 1]), random(rng, [128, 24], 2)];
  const [mix, w] = [random(rng, [6, 24]), random(rng, [24, 6], 0.4)].map(toFloat32) as [
    Float32Array,
    Float32Array,
  ];
  for (let n = 0; n < 128; n++) {
    const decides = n % 2 === 0;
    toFloat32(gate)[n] = decides ? 1 : 0.02;
    const z = Array.from({ length: 6 }, () => rng.normal() / 2);
    for (let c = 0; decides && c < 24; c++)
      toFloat32(x)[n * 24 + c] = z.reduce((sum, v, k) => sum + v * mix[k * 24 + c]!, 0);
  }
  const network = model(
    graph({
      name: 'gated',
      inputs: [value('x', 'float32', ['N', 24]), value('gate', 'float32', ['N', 1])],
      outputs: [value('z', 'float32', ['N', 6])],
      nodes: [
        node('MatMul', ['x', 'w'], ['y'], {}, { name: 'layer' }),
        node('Mul', ['y', 'gate'], ['z'], {}, { name: 'gating' }),
      ],
      initializers: [['w', storeTensor(tensor('float32', [24, 6], w))]],
    }),
    21,
  );
  writeModel(network, file);
  writeFileSync(
    data,
    writeNpz(
      new Map([
        ['x', x],
        ['gate', gate],
      ]),
    ),
  );
  const request: QuantizeRequest = {
    model: file,
    out,
    plan: {
      ...DEFAULT_SETTINGS,
      weights: 'int2',
      activations: 'float',
      solver,
    },
    emit: 'qdq',
    ranges: { method: 'minmax' },
    weightRange: 'range',
    statistics: { kind: 'data', spec: { path: data } },
    solving: { effort, importance },
    avoidSaturation: false,
    externalData: false,
    dryRun: false,
    locked: false,
  };
  await quantize(request, createContext());
  const [float, quantized] = [await openSession(file), await openSession(out)];
  const feeds = new Map([
    ['x', x],
    ['gate', gate],
  ]);
  const [a, b] = [await float.run(feeds), await quantized.run(feeds)];
  await float.release();
  await quantized.release();
  const [want, got] = [a, b].map((r) => toFloat32(r.get('z')!)) as [Float32Array, Float32Array];
  return want.reduce((sum, v, i) => sum + (v - got[i]!) ** 2, 0);
}

it.each(['fast', 'balanced'] as const)(
  'spends its freedom on rows that decide the output (%s)',
  async (effort) => {
    expect(await outputError(effort, true)).toBeLessThan(0.6 * (await outputError(effort, false)));
  },
);

it('is refused where no solver would look at it', async () => {
  await expect(outputError('fast', true, 'nearest')).rejects.toThrow(/rounded to nearest/);
});
