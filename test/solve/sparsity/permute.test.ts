import { describe, expect, test } from 'vitest';
import { createRng } from '../../../src/core/index.js';
import { inferValueTypes, openSession } from '../../../src/engine/index.js';
import { withGraph, type Model } from '../../../src/onnx/index.js';
import { findWeightedLayers } from '../../../src/solve/layers.js';
import {
  channelStream,
  parsePattern,
  permuteChannels,
  permuteNetwork,
  searchPermutation,
  type ChannelStream,
} from '../../../src/solve/sparsity/index.js';
import { tensor, toFloat32 } from '../../../src/tensor/index.js';
import { model } from '../../helpers/model.js';

const residual = model`
  opset 17
  (float32[1,3,6,6] x) => (float32[1,5,1,1] y) {
    w0: float32[8,3,3,3] = random()
    b0: float32[8] = random()
    w1: float32[12,8,3,3] = random()
    dw: float32[12,1,3,3] = random()
    db: float32[12] = random()
    w2: float32[8,12,1,1] = random()
    shift: float32[8,1,1] = random()
    w3: float32[5,8,6,6] = random()
    c0 = [stem] Conv<pads=[1, 1, 1, 1]>(x, w0, b0)
    r0 = Relu(c0)
    c1 = [expand] Conv<pads=[1, 1, 1, 1]>(r0, w1)
    r1 = Relu(c1)
    d1 = [depthwise] Conv<group=12, pads=[1, 1, 1, 1]>(r1, dw, db)
    p1 = MaxPool<kernel_shape=[3, 3], pads=[1, 1, 1, 1]>(d1)
    c2 = [project] Conv(p1, w2)
    s2 = Add(c2, r0)
    t2 = Add(s2, shift)
    y = [head] Conv(t2, w3)
  }`;

const mlp = model`
  opset 20
  (float32[2,5,16] x) => (float32[2,5,16] y) {
    w1: float32[16,32] = random()
    b1: float32[32] = random()
    w2: float32[32,16] = random()
    h = [fc1] MatMul(x, w1)
    hb = Add(h, b1)
    half: float32 = 0.5
    e = Erf(hb)
    f = Mul(hb, e)
    g = Mul(f, half)
    y = [fc2] MatMul(g, w2)
  }`;

async function streamOf(source: Model, node: string): Promise<ChannelStream | string> {
  const layer = findWeightedLayers(source.graph).find((l) => l.node.name === node)!;
  return channelStream(source.graph, await inferValueTypes(source), layer);
}

async function run(source: Model, dims: number[]): Promise<Float32Array> {
  const rng = createRng(1);
  const session = await openSession(source, { threads: 1 });
  const x = tensor(
    'float32',
    dims,
    Float32Array.from({ length: dims.reduce((a, b) => a * b) }, () => rng.normal()),
  );
  const outputs = await session.run({ x });
  await session.release();
  return toFloat32(outputs.get('y')!);
}

describe('channelStream', () => {
  test('follows a residual path through everything that shares its channels', async () => {
    const stream = (await streamOf(residual, 'head')) as ChannelStream;
    expect(stream.channels).toBe(8);
    expect(stream.readers.map((r) => r.node.name).sort()).toEqual(['expand', 'head']);
    const places = stream.constants.map((c) => `${c.node.inputs[c.input]}@${c.axis}`).sort();
    expect(places).toEqual(['b0@0', 'shift@0', 'w0@0', 'w1@1', 'w2@0', 'w3@1']);
  });

  test('takes depthwise convolutions and pooling along', async () => {
    const stream = (await streamOf(residual, 'project')) as ChannelStream;
    const places = stream.constants.map((c) => `${c.node.inputs[c.input]}@${c.axis}`).sort();
    expect(places).toEqual(['db@0', 'dw@0', 'w1@0', 'w2@1']);
  });

  test.each([
    [residual, 'stem', "'x' is given from outside"],
    [mlp, 'fc1', "'x' is given from outside"],
  ])('says why the input of a first layer stays', async (source, node, why) => {
    expect(await streamOf(source, node)).toBe(why);
  });

  test('refuses what mixes channels', async () => {
    const attention = model`
      opset 17
      (float32[2,8] x) => (float32[2,8] y) {
        w1: float32[8,8] = random()
        w2: float32[8,8] = random()
        a = MatMul(x, w1)
        b = [mix] Softmax(a)
        y = [out] MatMul(b, w2)
      }`;
    expect(await streamOf(attention, 'out')).toBe("Softmax 'mix' mixes the channels");
  });
});

describe('permuteChannels', () => {
  test.each([
    [residual, 'head', [1, 3, 6, 6]],
    [residual, 'project', [1, 3, 6, 6]],
    [mlp, 'fc2', [2, 5, 16]],
  ])('leaves the network as it was, but not its weights', async (source, node, dims) => {
    const stream = (await streamOf(source, node)) as ChannelStream;
    const order = createRng(4).shuffle(Array.from({ length: stream.channels }, (_, i) => i));
    const permuted = withGraph(source, permuteChannels(source.graph, [{ stream, order }]));
    expect(await run(permuted, dims)).toBeAllclose(await run(source, dims), { atol: 1e-4, rtol: 1e-5 });
    // Forgetting any one constant would show.
    for (let i = 0; i < stream.constants.length; i++) {
      const partial = { ...stream, constants: stream.constants.filter((_, k) => k !== i) };
      const broken = withGraph(source, permuteChannels(source.graph, [{ stream: partial, order }]));
      expect(await run(broken, dims)).not.toBeAllclose(await run(source, dims), { atol: 1e-3, rtol: 1e-3 });
    }
  });
});

describe('searchPermutation', () => {
  const layout = {
    dims: [4, 16, 1, 1],
    groups: 1,
    out: 4,
    in: 16,
    kernel: 1,
    inputMajor: false,
    outAxis: 0,
    inAxis: 1,
  };
  /** Four important channels in a row: one group loses two of them. */
  const clustered = Float64Array.from({ length: 64 }, (_, i) => (i % 16 < 4 ? 10 : 1) + (i % 7) / 1000);

  test('spreads important channels over the groups', () => {
    const found = searchPermutation([{ layout, scores: clustered }], parsePattern('2:4'), createRng(1));
    // Kept before: 2·10 + 6·1 a row; at best all four large ones: 4·10 + 4·1.
    expect(found.before).toBeCloseTo(4 * 26, 0);
    expect(found.after).toBeCloseTo(4 * 44, 0);
    expect([...found.order].sort((a, b) => a - b)).toEqual(Array.from({ length: 16 }, (_, i) => i));
  });

  test('is the same every time, never worse, and keeps the order when nothing is gained', () => {
    const search = () =>
      searchPermutation([{ layout, scores: clustered }], parsePattern('2:4'), createRng(2), { attempts: 20 });
    expect(search()).toEqual(search());
    expect(search().after).toBeGreaterThanOrEqual(search().before);
    const equal = searchPermutation(
      [{ layout, scores: new Float64Array(64).fill(1) }],
      parsePattern('2:4'),
      createRng(2),
    );
    expect(equal.order).toEqual(Array.from({ length: 16 }, (_, i) => i));
  });
});

describe('permuteNetwork', () => {
  const patterns = new Map(['expand', 'project', 'head'].map((node) => [node, parsePattern('2:4')] as const));
  const energies = new Map(
    findWeightedLayers(residual.graph).map(({ node, layout }) => [
      node.name,
      Float64Array.from({ length: layout.in * layout.kernel }, (_, c) => 1 + (c % 5)),
    ]),
  );
  const permute = async () =>
    permuteNetwork(residual, await inferValueTypes(residual), patterns, energies, createRng(1));

  test('computes what the network did, keeps more of every layer, and renames what changed', async () => {
    const { model: found, permuted, fixed } = await permute();
    expect(await run(found, [1, 3, 6, 6])).toBeAllclose(await run(residual, [1, 3, 6, 6]), {
      atol: 1e-4,
      rtol: 1e-5,
    });
    expect(fixed).toEqual([]);
    expect(permuted.map(({ layers }) => layers)).toEqual([['expand', 'head'], ['project']]);
    for (const { kept } of permuted) {
      expect(kept.after).toBeGreaterThan(kept.before);
      expect(kept.after).toBeLessThanOrEqual(1);
    }
    const names = new Set(found.graph.nodes.flatMap((n) => n.outputs));
    for (const changed of ['c0', 'r0', 'c1', 'd1', 'p1', 's2', 't2']) expect(names).not.toContain(changed);
    expect(names).toContain('y');
    expect(await permute()).toEqual({ model: found, permuted, fixed });
  });

  test('orders channels once where their readers have different patterns', async () => {
    const types = await inferValueTypes(residual);
    const two = new Map([
      ['expand', parsePattern('2:4')],
      ['head', parsePattern('1:4')],
    ]);
    const mixed = permuteNetwork(residual, types, two, energies, createRng(1));
    const alone = permuteNetwork(residual, types, new Map([...two].slice(0, 1)), energies, createRng(1));
    expect(mixed.permuted).toEqual(alone.permuted);
    expect(mixed.model).toEqual(alone.model);
    expect(mixed.fixed).toEqual([{ layer: 'head', why: "its channels are ordered for 2:4 in 'expand'" }]);
  });

  test('says which channels keep their order', async () => {
    const only = new Map([['stem', parsePattern('1:3')]]);
    const { model: found, fixed } = permuteNetwork(
      residual,
      await inferValueTypes(residual),
      only,
      energies,
      createRng(1),
    );
    expect(found).toBe(residual);
    expect(fixed).toEqual([{ layer: 'stem', why: "'x' is given from outside" }]);
  });
});
