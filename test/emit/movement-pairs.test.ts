/** Signed bytes moved at opset 21: onnxruntime refuses the pairs it makes itself, so they are written. */
import { describe, expect, it } from 'vitest';
import { createContext, createRng } from '../../src/core/index.js';
import { openSession } from '../../src/engine/index.js';
import { opsetForSettings } from '../../src/emit/index.js';
import { type Model } from '../../src/onnx/index.js';
import { loadModel } from '../../src/pipeline/index.js';
import { DEFAULT_SETTINGS } from '../../src/plan/index.js';
import { errorSums, sqnr, tensor, toFloat32, type Tensor } from '../../src/tensor/index.js';
import { model } from '../helpers/model.js';
import { quantizeFixed } from '../helpers/quantized.js';

const moving = model`
  opset 21
  (float32[N,4,6,6] x) => (float32[N,36,4] z, float32[N,36,8] y) {
    w1: float32[4,4,1,1] = random(seed=1, scale=0.5)
    w2: float32[4,8] = random(seed=2, scale=0.5)
    shape: int64[3] = {0, 4, 36}
    c = Conv(x, w1)
    r = Reshape(c, shape)
    z = Transpose<perm=[0,2,1]>(r)
    e = Erf(z)
    p = Transpose<perm=[0,2,1]>(e)
    q = Transpose<perm=[0,2,1]>(p)
    y = MatMul(q, w2)
  }`;

function noise(dims: readonly number[]): Tensor {
  const rng = createRng(5);
  return tensor(
    'float32',
    dims,
    Float32Array.from({ length: dims.reduce((a, b) => a * b, 1) }, () => rng.normal()),
  );
}

/** The first output, as the runtime optimizes the model and as it is written. */
async function outputs(quantized: Model, inputs: Record<string, Tensor>): Promise<Float32Array[]> {
  const results: Float32Array[] = [];
  for (const optimization of ['all', 'none'] as const) {
    const session = await openSession(quantized, { optimization });
    const [first] = (await session.run(inputs)).values();
    results.push(toFloat32(first as Tensor).slice());
    await session.release();
  }
  return results;
}

function closeness([a = [], b = []]: readonly ArrayLike<number>[]): number {
  return sqnr(errorSums(a, b));
}

describe('pairsAroundMovement', () => {
  it('lets the runtime load signed bytes behind and in front of movement', async () => {
    const quantized = await quantizeFixed(moving, { activations: 'int8', weights: 'int8' });
    expect(closeness(await outputs(quantized, { x: noise([2, 4, 6, 6]) }))).toBeGreaterThan(30);
    const behind = quantized.graph.nodes.filter((n) => n.opType === 'QuantizeLinear');
    expect(behind.map((n) => n.inputs[0])).toEqual(expect.arrayContaining(['r', 'e', 'p']));
  });

  it('leaves unsigned bytes and earlier opsets to the runtime', async () => {
    const count = async (m: Model, activations: string): Promise<number> =>
      (await quantizeFixed(m, { activations, weights: 'int8' })).graph.nodes.length;
    const early = { ...moving, opsets: new Map([['', 20]]) };
    expect(await count(early, 'int8')).toBe(await count(moving, 'uint8'));
    expect(await count(moving, 'int8')).toBeGreaterThan(await count(moving, 'uint8'));
  });
});

it.each([2, 3, 4, 5, 6, 7])('writes a transformer in fix%i that the runtime loads', async (bits) => {
  const settings = { activations: `fix${bits}`, weights: `fix${bits}` };
  const opset = opsetForSettings({ ...DEFAULT_SETTINGS, ...settings });
  const loaded = await loadModel('fixtures/fashion-vit/vit.onnx', opset, createContext());
  const quantized = await quantizeFixed(loaded.model, settings);
  const results = await outputs(quantized, { input: noise([4, 1, 28, 28]) });
  expect(closeness(results)).toBeGreaterThan(20);
});
