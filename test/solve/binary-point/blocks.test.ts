/** Blocks end where a single value is handed on. */
import { describe, expect, it } from 'vitest';
import { inferValueTypes } from '../../../src/engine/index.js';
import { findBlocks } from '../../../src/solve/binary-point/blocks.js';
import { model } from '../../helpers/model.js';

const residual = model`opset 18 (float32[N,4,6,6] x) => (y) {
  w1: float32[4,4,3,3] = random(seed=1)
  w2: float32[4,4,3,3] = random(seed=2)
  w3: float32[4,4,3,3] = random(seed=3)
  w4: float32[3,4] = random(seed=4)
  a = Conv<pads=[1,1,1,1]>(x, w1)
  b = Relu(a)
  c = Conv<pads=[1,1,1,1]>(b, w2)
  d = Conv<pads=[1,1,1,1]>(c, w3)
  e = Add(d, b)
  g = GlobalAveragePool(e)
  f = Flatten(g)
  y = Gemm<transB=1>(f, w4) }`;

describe('findBlocks', () => {
  const isWeighted = (node: { opType: string }): boolean => ['Conv', 'Gemm'].includes(node.opType);

  it('keeps both branches of a sum together', async () => {
    const blocks = findBlocks(residual.graph, await inferValueTypes(residual), isWeighted, 1);
    expect(blocks.map((b) => b.nodes.map((n) => n.opType).join(' '))).toEqual([
      'Conv',
      'Relu Conv Conv Add',
      'GlobalAveragePool Flatten Gemm',
    ]);
    expect(blocks.map((b) => [b.inputs, b.outputs])).toEqual([
      [['x'], ['a']],
      [['a'], ['e']],
      [['e'], ['y']],
    ]);
  });

  it('joins parts until enough layers can interact', async () => {
    const blocks = findBlocks(residual.graph, await inferValueTypes(residual), isWeighted, 2);
    expect(blocks.map((b) => b.nodes.filter(isWeighted).length)).toEqual([3, 1]);
  });
});
