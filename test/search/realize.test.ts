import { describe, expect, test } from 'vitest';
import { createContext } from '../../src/core/index.js';
import { dequantize, parseFormat } from '../../src/formats/index.js';
import { DEFAULT_SETTINGS, planQuantization, solvedFormat } from '../../src/plan/index.js';
import {
  createRealizer,
  searchLayers,
  type LayerCandidate,
  type SearchLayer,
} from '../../src/search/index.js';
import { collectMoments, parsePattern, countPattern } from '../../src/solve/index.js';
import { groupingOf } from '../../src/solve/round-to-nearest.js';
import { inferValueTypes, NO_CARRY } from '../../src/engine/index.js';
import { tensor } from '../../src/tensor/index.js';
import { statisticsOf } from '../calibrate/sketches.js';
import { model } from '../helpers/model.js';
import { samplesOf } from './study.js';

const ctx = createContext({ threads: 1 });
const net = model`
  opset 17
  (float32[batch,8,5,5] x) => (float32[batch,6] y) {
    w: float32[12,8,3,3] = random(scale=0.2)
    m: float32[12,6] = random()
    a = [conv] Conv(x, w)
    b = Relu(a)
    c = GlobalAveragePool(b)
    d = Flatten(c)
    y = [head] MatMul(d, m)
  }`;

const candidate = (weights: string, more: Partial<LayerCandidate> = {}): LayerCandidate => ({
  weights,
  activations: 'float',
  granularity: 'channel',
  solver: 'nearest',
  ...more,
});

async function open() {
  const types = await inferValueTypes(net);
  const plan = { ...DEFAULT_SETTINGS, activations: 'float' };
  const layers = searchLayers(net, types, planQuantization(net, types, plan));
  const batches = samplesOf('x', [8, 5, 5], 32);
  const data = {
    samples: 32,
    carry: NO_CARRY,
    batches: async function* (_: number, from = 0, to = Infinity) {
      yield* batches.filter((b) => b.first >= from && b.first < to);
    },
  };
  const moments = await collectMoments(
    net,
    layers.map((l) => l.layer),
    data,
    ctx,
    { heldOut: 0 },
  );
  const settings = {
    model: net,
    types,
    plan,
    ranges: { method: 'minmax' },
    weightRange: 'mse',
    moments,
  } as const;
  return { layers, realize: createRealizer(settings, ctx) };
}

describe('createRealizer', () => {
  test.each([
    ['nearest', candidate('int4')],
    ['one scale', candidate('int8', { granularity: 'tensor' })],
    ['blocks', candidate('int4', { granularity: { block: 4 } })],
    ['gptq', candidate('int4', { solver: 'gptq' })],
    ['descent', candidate('int3', { solver: 'descent' })],
    ['descent in blocks', candidate('int4', { solver: 'descent', granularity: { block: 4 } })],
    ['levels of nearest', candidate('codebook3')],
    ['levels of descent', candidate('codebook2', { solver: 'descent' })],
    ['levels of gptq in blocks', candidate('codebook4', { solver: 'gptq', granularity: { block: 4 } })],
    ['words of nearest', candidate('vector4d4')],
    ['words of descent', candidate('vector4d2', { solver: 'descent' })],
    ['words of gptq in blocks', candidate('vector6d3', { solver: 'gptq', granularity: { block: 4 } })],
    ['open exponents', candidate('power4', { solver: 'nearest' })],
    ['joint', candidate('int4', { solver: 'joint', sparsity: '2:4' })],
  ])('values are those of the codes: %s', async (_, c) => {
    const { layers, realize } = await open();
    for (const layer of layers) {
      const { weight, solved } = await realize(layer, c);
      const granularity =
        c.granularity === 'tensor'
          ? ({ kind: 'tensor' } as const)
          : c.granularity === 'channel'
            ? ({ kind: 'channel', axis: layer.layer.layout.outAxis } as const)
            : ({ kind: 'block', axis: layer.layer.layout.inAxis, size: 4 } as const);
      const values = dequantize(
        solvedFormat({ format: c.weights }, solved!),
        solved!,
        groupingOf(granularity, layer.layer.layout.dims),
      );
      expect(values).toBeAllclose(weight, { atol: 1e-6, rtol: 1e-6 });
      const { low, high } = parseFormat(c.weights);
      expect(solved!.codes.every((q) => q >= low && q <= high)).toBe(true);
    }
  });

  test('sparse candidates keep their pattern, dense ones do not', async () => {
    const { layers, realize } = await open();
    const count = async (layer: SearchLayer, c: LayerCandidate) =>
      countPattern(layer.layer.layout, (await realize(layer, c)).solved!.codes, parsePattern('2:4'))
        .violations;
    const [conv] = layers;
    for (const solver of ['magnitude', 'wanda', 'sparsegpt', 'joint'])
      expect(await count(conv!, candidate('int4', { solver, sparsity: '2:4' }))).toBe(0);
    expect(await count(conv!, candidate('int4'))).toBeGreaterThan(0);
  });

  test('solves each candidate once', async () => {
    const { layers, realize } = await open();
    const [a, b] = [
      await realize(layers[0]!, candidate('int4')),
      await realize(layers[0]!, candidate('int4')),
    ];
    expect(a.weight).toBe(b.weight);
  });

  test('names a solver it does not know, and asks for statistics it needs', async () => {
    const { layers, realize } = await open();
    await expect(realize(layers[0]!, candidate('int4', { solver: 'magic' }))).rejects.toThrowError(
      "the solver 'magic'",
    );
    await expect(realize(layers[0]!, candidate('int8', { activations: 'uint8' }))).rejects.toThrowError(
      'no statistics',
    );
    await expect(realize(layers[0]!, candidate('int8', { activations: 'e4m3' }))).rejects.toThrowError(
      'round activations to e4m3',
    );
  });

  test('layers choose the ranges of inputs, for each format', async () => {
    const source = model`
      opset 21
      (float32[N,4] x) => (float32[N,2] y) {
        w: float32[4,2] = {0, 0, 1, -1, 0.5, 1, -1, 0.3}
        y = [p] MatMul(x, w)
      }`;
    const rng = ctx.rng.fork('inputs');
    // Outliers where the layer does not look.
    const x = tensor(
      'float32',
      [1024, 4],
      Float32Array.from({ length: 4096 }, (_, i) => (i % 512 === 0 ? 50 : 1) * rng.normal()),
    );
    const types = await inferValueTypes(source);
    const [layer] = searchLayers(source, types, planQuantization(source, types, DEFAULT_SETTINGS));
    const steps = async (method: 'minmax' | 'layer-error'): Promise<number[]> => {
      const realize = createRealizer(
        {
          model: source,
          types,
          plan: DEFAULT_SETTINGS,
          ranges: { method },
          weightRange: 'mse',
          statistics: statisticsOf(x),
          batches: [{ first: 0, count: 1024, inputs: new Map([['x', x]]) }],
        },
        ctx,
      );
      const grids = [];
      for (const activations of ['uint8', 'uint4'])
        grids.push((await realize(layer!, candidate('int8', { activations }))).activation?.scale ?? NaN);
      return grids;
    };
    const [whole, cut] = [await steps('minmax'), await steps('layer-error')];
    expect(cut[0]).toBeLessThan((whole[0] ?? NaN) / 4);
    // Coarse steps pay for more clipping.
    expect((cut[1] ?? NaN) / (whole[1] ?? NaN)).toBeLessThan((cut[0] ?? NaN) / (whole[0] ?? NaN));
  });
});
