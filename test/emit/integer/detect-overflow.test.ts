/** The overflow policy `detect`: an input whose 16-bit products leave a 32-bit sum is found. */
import { expect, it } from 'vitest';
import { accumulatorWidths, refuseOverflow } from '../../../src/emit/integer/index.js';
import { tensor, type Tensor } from '../../../src/tensor/index.js';
import { model } from '../../helpers/model.js';
import { integerModel } from './integer-model.js';

const SIZE = 16;
const product = model`opset 21 (float32[N,16] x) => (y) {
  w: float32[16,2] = random(seed=1, scale=0.01, mean=0.9)
  y = MatMul(x, w) }`;

const filled = (value: number): Tensor => tensor('float32', [1, SIZE], new Float32Array(SIZE).fill(value));
const sample = (x: Tensor): ReadonlyMap<string, Tensor> => new Map([['x', x]]);
/** One element at the end of the range: a single product of two 16-bit integers, which 32 bits hold. */
const single = tensor('float32', [1, SIZE], new Float32Array(SIZE).fill(0.99, 0, 1));

async function program(format: string): ReturnType<typeof integerModel> {
  return integerModel(product, { x: filled(0.99) }, { activations: format, weights: format });
}

it('detects an input that overflows at 16 bits, and lets others pass', async () => {
  const { lowered } = await program('dfp16');
  expect(accumulatorWidths(lowered.program)[0]?.bits).toBeGreaterThan(32);
  expect(() => refuseOverflow(lowered.program, 32, [sample(single)])).not.toThrow();
  const samples = [sample(single), sample(filled(0.99))];
  expect(() => refuseOverflow(lowered.program, 32, samples)).toThrow(
    /sample 1 needs an accumulator of 3\d bits/,
  );
});

it('asks for samples only where the proof leaves room for an overflow', async () => {
  const wide = await program('dfp16');
  expect(() => refuseOverflow(wide.lowered.program, 32, [])).toThrow('there are no samples');
  const narrow = await program('dfp12');
  expect(() => refuseOverflow(narrow.lowered.program, 32, [])).not.toThrow();
});
