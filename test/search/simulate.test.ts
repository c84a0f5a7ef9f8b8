import { expect, test } from 'vitest';
import { openSession } from '../../src/engine/index.js';
import { withGraph } from '../../src/onnx/index.js';
import { feedsOf, simulate, type Realization } from '../../src/search/simulate.js';
import { tensor, toFloat32 } from '../../src/tensor/index.js';
import { model } from '../helpers/model.js';
import { samplesOf, studyOf, weightsOnly } from './study.js';

const net = model`
  opset 17
  (float32[batch,4,6,6] x) => (float32[batch,5] y) {
    w: float32[6,4,3,3] = random(scale=0.3)
    m: float32[6,5] = random()
    a = [conv] Conv(x, w)
    b = Relu(a)
    c = GlobalAveragePool(b)
    d = Flatten(c)
    y = [head] MatMul(d, m)
  }`;

/** The same with the runtime's own operators around the convolution's input. */
const withOperators = model`
  opset 17
  (float32[batch,4,6,6] x) => (float32[batch,5] y) {
    w: float32[6,4,3,3] = random(scale=0.3)
    m: float32[6,5] = random()
    s: float32 = 0.03
    z: uint8 = 120
    q = QuantizeLinear(x, s, z)
    dq = DequantizeLinear(q, s, z)
    a = [conv] Conv(dq, w)
    b = Relu(a)
    c = GlobalAveragePool(b)
    d = Flatten(c)
    y = [head] MatMul(d, m)
  }`;

const [batch] = samplesOf('x', [4, 6, 6], 8);

async function run(
  source: typeof net,
  extra: Record<string, ReturnType<typeof tensor>> = {},
): Promise<Float32Array> {
  const session = await openSession(source, { threads: 1, optimization: 'none' });
  const result = await session.run({ ...Object.fromEntries(batch!.inputs), ...extra });
  await session.release();
  return toFloat32(result.get('y')!);
}

test('fixed and open layers compute what the quantized operators compute', async () => {
  const { layers, realize } = await studyOf(net, [batch!], weightsOnly('int8'));
  const [conv] = layers;
  const { weight } = await realize(conv!, {
    weights: 'float',
    activations: 'float',
    granularity: 'tensor',
    solver: 'none',
  });
  const rounded: Realization = {
    weight,
    activation: { scale: Math.fround(0.03), zeroPoint: 120, low: 0, high: 255 },
  };
  const expected = await run(withOperators);
  const fixed = withGraph(net, simulate(net.graph, layers, new Map([['conv', rounded]])));
  expect(await run(fixed)).toBeAllclose(expected, { atol: 1e-5, rtol: 1e-5 });
  const open = withGraph(net, simulate(net.graph, layers, new Map(), new Set(['conv'])));
  expect(await run(open, Object.fromEntries(feedsOf(conv!, rounded)))).toBeAllclose(expected, {
    atol: 1e-5,
    rtol: 1e-5,
  });
  // Switched off, the open layer is the float layer; and rounding does make a difference here.
  expect(await run(open, Object.fromEntries(feedsOf(conv!, { weight })))).toBeAllclose(await run(net), {
    atol: 0,
    rtol: 0,
  });
  expect(await run(net)).not.toBeAllclose(expected, { atol: 1e-4, rtol: 1e-4 });
});

test('layers without a candidate stay the same nodes', async () => {
  const { layers } = await studyOf(net, [batch!], weightsOnly('int8'));
  expect(simulate(net.graph, layers, new Map()).nodes).toEqual(net.graph.nodes);
});
