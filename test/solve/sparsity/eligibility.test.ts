import { expect, test } from 'vitest';
import { parsePattern, sparseEligibility } from '../../../src/solve/sparsity/index.js';
import { model } from '../../helpers/model.js';

const net = model`
  opset 17
  (float32[1,3,8,8] x) => (float32[1,10] y) {
    w0: float32[16,3,3,3] = random()
    dw: float32[16,1,3,3] = random()
    w1: float32[18,16,1,1] = random()
    w2: float32[16,18,1,1] = random()
    wg: float32[16,4,1,1] = random()
    wt: float32[16,16,2,2] = random()
    table: float32[8,16] = random()
    rows: int64[1] = {3}
    m: float32[16,16] = random()
    head: float32[16,10] = random()
    a = [stem] Conv<pads=[1, 1, 1, 1]>(x, w0)
    b = [depthwise] Conv<group=16, pads=[1, 1, 1, 1]>(a, dw)
    c = [pointwise] Conv(b, w1)
    d = [odd] Conv(c, w2)
    e = [grouped] Conv<group=4>(d, wg)
    f = [up] ConvTranspose<strides=[2, 2]>(e, wt)
    g = GlobalAveragePool(f)
    h = Flatten(g)
    i = [lookup] Gather(table, rows)
    j = [activations] MatMul<>(h, h)
    k = [first_use] MatMul(h, m)
    l = [second_use] MatMul(k, m)
    n = Add(l, i)
    y = [head] MatMul(n, head)
  }`;

test('every node with a weight slot is eligible or says why not', () => {
  const reasons = new Map(sparseEligibility(net.graph, parsePattern('2:4')).map((e) => [e.node, e.why]));
  expect(Object.fromEntries(reasons)).toEqual({
    stem: 'its 3 input channels are no multiple of 4 (2:4)',
    depthwise: 'it is depthwise: one weight a reduction',
    pointwise: undefined,
    odd: 'its 18 input channels are no multiple of 4 (2:4)',
    grouped: 'its channels are in groups',
    up: 'sparse kernels do not compute ConvTranspose',
    lookup: 'rows are looked up, nothing is multiplied',
    activations: 'its weight is not a constant matrix of float32',
    first_use: 'its weight is used more than once',
    second_use: 'its weight is used more than once',
    head: 'the first and the last layer stay dense',
  });
});

test('the ends become eligible on request, where the channels allow it', () => {
  const eligible = sparseEligibility(net.graph, parsePattern('4:8'), { ends: true }).filter(
    (e) => e.layer !== undefined,
  );
  expect(eligible.map((e) => e.node)).toEqual(['pointwise', 'head']);
});
