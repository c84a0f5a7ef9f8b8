/** Saturation without VNNI, against a direct simulation of the pairwise int16 sums. */
import { describe, expect, it } from 'vitest';
import { type Model } from '../../src/onnx/index.js';
import { type Plan, type SolvedWeight } from '../../src/plan/index.js';
import { roundToNearest } from '../../src/solve/round-to-nearest.js';
import { findSaturation, scalesWithoutSaturation } from '../../src/solve/saturation.js';
import { model } from '../helpers/model.js';
import { planFixed } from '../helpers/quantized.js';

const dense = (values: string): Model => model`
  opset 17
  (float32[N,4] x) => (float32[N,2] y) {
    w: float32[2,4] = {${values}}
    y = Gemm<transB=1>(x, w)
  }`;

async function solve(m: Model): Promise<{ plan: Plan; solved: Map<string, SolvedWeight> }> {
  const plan = await planFixed(m);
  return { plan, solved: roundToNearest(m.graph, plan, 'range') };
}

describe('findSaturation', () => {
  it('flags a channel with two large neighbours of one sign, and only that', async () => {
    const m = dense('1, 0.9, 0, 0,   1, -0.9, 0, 0.1');
    const { plan, solved } = await solve(m);
    expect(findSaturation(m.graph, plan, solved)).toEqual([
      { node: 'Gemm_y', initializer: 'w', channels: [0], channelCount: 2 },
    ]);
  });

  it('sees pairs, not neighbours across pairs', async () => {
    const m = dense('0, 1, 1, 0,   0.5, 0.5, 0, 1');
    const { plan, solved } = await solve(m);
    expect(findSaturation(m.graph, plan, solved)).toEqual([]);
  });

  it('pairs input channels inside a kernel position of a convolution', async () => {
    const m = model`
      opset 17
      (float32[N,2,4,4] x) => (float32[N,2,4,3] y) {
        w: float32[2,2,1,2] = {1, 0, 1, 0,   1, 1, 0, 0}
        y = Conv(x, w)
      }`;
    const { plan, solved } = await solve(m);
    expect(findSaturation(m.graph, plan, solved)).toMatchObject([{ channels: [0], channelCount: 2 }]);
  });

  it('leaves depthwise convolutions and symmetric activations alone', async () => {
    const depthwise = model`
      opset 17
      (float32[N,2,4,4] x) => (float32[N,2,4,3] y) {
        w: float32[2,1,1,2] = {1, 1, 1, 1}
        y = Conv<group=2>(x, w)
      }`;
    const { plan, solved } = await solve(depthwise);
    expect(findSaturation(depthwise.graph, plan, solved)).toEqual([]);
  });

  it('is repaired by the scales it offers, at the cost of the flagged channels alone', async () => {
    const m = dense('1, 0.9, 0, 0,   1, -0.9, 0, 0.1');
    const { plan, solved } = await solve(m);
    const [risk] = findSaturation(m.graph, plan, solved);
    const weight = solved.get('w');
    if (risk === undefined || weight === undefined) throw new Error('expected a risk');
    const minimumScale = scalesWithoutSaturation(risk, weight);
    expect(minimumScale[1]).toBe(0);
    const w = plan.weights.w;
    if (w === undefined) throw new Error('expected a weight');
    const repaired = roundToNearest(m.graph, { ...plan, weights: { w: { ...w, minimumScale } } }, 'range');
    expect(findSaturation(m.graph, plan, repaired)).toEqual([]);
    expect(repaired.get('w')?.codes.slice(4)).toEqual(weight.codes.slice(4));
  });
});
