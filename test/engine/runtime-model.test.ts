import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { InferenceSession, Tensor } from 'onnxruntime-node';
import { describe, expect, it } from 'vitest';
import { runtimeModel } from '../../src/engine/runtime-model.js';
import {
  readModel,
  storeTensor,
  withGraph,
  writeModel,
  type Model,
  type StoredTensor,
} from '../../src/onnx/index.js';
import { tensor } from '../../src/tensor/index.js';
import { EXACT, expectEquivalent, randomFeeds, runModel } from '../helpers/equivalence.js';
import { temporaryFolder } from '../helpers/folder.js';
import { model } from '../helpers/model.js';

const folder = temporaryFolder();

/** Weights in the graph and in a subgraph, one of them narrower than a byte. */
const mixed = model`
  opset 21
  (float32[N,32] x, bool c) => (float32[N,32] y) {
    w: float32[32,32] = random()
    q: int4[4096] = random(low=-8, high=8)
    s: float32 = 0.5
    f = DequantizeLinear(q, s)
    g = ReduceMax<keepdims=0>(f)
    m = MatMul(x, w)
    a = Add(m, g)
    y = If<then_branch=() => (t) {
      v: float32[32,32] = random()
      t = MatMul(a, v)
    }, else_branch=() => (t) {
      t = Identity(a)
    }>(c)
  }`;

describe('a model with external data', () => {
  const path = join(folder, 'external.onnx');
  writeModel(mixed, path, { externalData: true });
  const external = readModel(path);

  it('is run without reading its tensors', async () => {
    const { bytes, config, externalData } = runtimeModel(external);
    expect(bytes.length).toBeLessThan(2000);
    expect(Object.values(config ?? {})).toEqual([folder]);
    expect(externalData).toBeUndefined();
    await expectEquivalent(external, mixed, EXACT);
  });

  it('may be changed in memory, and take tensors of other folders', async () => {
    const other = join(folder, 'sub');
    mkdirSync(other);
    const path = join(other, 'other.onnx');
    writeModel(mixed, path, { externalData: true });
    const w = readModel(path).graph.initializers.get('w');
    const s = storeTensor(tensor('float32', [], [0.5]));
    await expectEquivalent(withInitializers(external, { w, s }), mixed, EXACT);
  });
});

describe('a model too large for one message', () => {
  it('hands over its tensors in memory', async () => {
    const { bytes, externalData } = runtimeModel(mixed, 1000);
    expect(externalData?.map(({ data }) => data.length)).toEqual([32 * 32 * 4, 2048]);
    expect(bytes.length).toBeLessThan(32 * 32 * 4 + 2000);

    const session = await InferenceSession.create(bytes, { externalData: externalData ?? [] });
    const feeds = randomFeeds(mixed);
    const inputs = Object.entries(feeds).map(([name, t]) => [
      name,
      new Tensor(t.dtype as 'float32', t.data as Float32Array, t.dims),
    ]);
    const { y } = await session.run(Object.fromEntries(inputs) as Record<string, Tensor>);
    const expected = (await runModel(mixed, feeds)).get('y');
    expect(y?.data).toBeAllclose(expected?.data as Float32Array, { atol: 1e-5, rtol: 1e-5 });
    await session.release();
  });
});

function withInitializers(model: Model, changes: Record<string, StoredTensor | undefined>): Model {
  const initializers = new Map(model.graph.initializers);
  for (const [name, stored] of Object.entries(changes)) if (stored) initializers.set(name, stored);
  return withGraph(model, { ...model.graph, initializers });
}
