/** Unsigned words where values are never negative. */
import { describe, expect, it } from 'vitest';
import { preferUnsigned } from '../../src/plan/index.js';
import { model } from '../helpers/model.js';
import { planFixed } from '../helpers/quantized.js';

const network = model`opset 17 (float32[N,4,8,8] x) => (y) {
  w: float32[4,4,1,1] = random(seed=1)
  c = Conv(x, w)
  r = Relu(c)
  p = MaxPool<kernel_shape=[2,2]>(r)
  y = Conv(p, w) }`;

const seen = new Map([
  ['x', -1],
  ['r', 0],
  ['p', 0],
  ['y', -2],
]);

async function formats(activations: string): Promise<Record<string, string>> {
  const plan = await planFixed(network, { target: 'integer', activations });
  const chosen = preferUnsigned(plan, (value) => seen.get(value));
  return Object.fromEntries(Object.entries(chosen.activations).map(([id, a]) => [id, a.format]));
}

describe('preferUnsigned', () => {
  it('drops the sign behind a Relu, and of values that share its parameters', async () => {
    expect(await formats('fix8')).toEqual({ x: 'fix8', r: 'ufix8', p: 'ufix8', y: 'fix8' });
    expect(await formats('fix6:AP_RND:AP_WRAP')).toMatchObject({ r: 'ufix6:AP_RND:AP_WRAP' });
  });

  it.each(['fix8.5', 'int8', 'dfp8', 'fix8:AP_TRN:AP_WRAP_SM'])('leaves %s as it is', async (format) => {
    expect(new Set(Object.values(await formats(format)))).toEqual(new Set([format]));
  });
});
