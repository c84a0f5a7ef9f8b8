/** Codebooks: what learned levels gain over fixed and even ones, and where they gain nothing. */
import { describe, expect, it } from 'vitest';
import { createRng } from '../../src/core/index.js';
import {
  byBlock,
  byChannel,
  dequantize,
  fitTensor,
  parseFormat,
  quantize,
  tensorBytes,
  WHOLE_TENSOR,
  type Grouping,
} from '../../src/formats/index.js';

const SIZE = 2 ** 14;
const rng = createRng(5);
const draw = (f: () => number): Float32Array => Float32Array.from({ length: SIZE }, f);
const gaussian = draw(() => rng.normal());
const laplace = draw(() => Math.log(1 - rng.uniform()) * (rng.uniform() < 0.5 ? 1 : -1));
const uniform = draw(() => 2 * rng.uniform() - 1);

function meanSquare(name: string, values: Float32Array, grouping: Grouping): number {
  const { format, ...fitted } = fitTensor(parseFormat(name), values, grouping, {
    method: 'mse',
    symmetric: true,
  });
  const back = dequantize(format, quantize(format, values, grouping, fitted), grouping);
  return values.reduce((sum, v, i) => sum + (v - (back[i] ?? 0)) ** 2, 0) / values.length;
}

const groupings = {
  tensor: WHOLE_TENSOR,
  channel: byChannel([64, SIZE / 64], 0),
  // The blocks of nf4.
  block: byBlock([64, SIZE / 64], 1, 64),
};

describe.each([
  ['tensor', 0.97, 0.93],
  ['channel', 0.98, 0.92],
  ['block', 0.97, 0.94],
] as const)('codebooks, scales by %s', (name, ofGaussian, ofLaplace) => {
  const grouping = groupings[name];

  it.each([
    ['Gaussian', gaussian, ofGaussian],
    ['Laplace', laplace, ofLaplace],
  ])('have less error than nf4 and int4: %s weights', (_, values, share) => {
    const codebook = meanSquare('codebook4', values, grouping);
    expect(codebook).toBeLessThan(share * meanSquare('nf4', values, grouping));
    expect(codebook).toBeLessThan(0.92 * meanSquare('int4', values, grouping));
  });

  it('gain nothing that matters on uniform weights', () => {
    const ratio = meanSquare('codebook4', uniform, grouping) / meanSquare('int4', uniform, grouping);
    expect(ratio).toBeGreaterThan(0.85);
    expect(ratio).toBeLessThan(1.02);
  });
});

describe('codebook formats', () => {
  it('come within 2 % of the known optimum of Gaussian numbers', () => {
    const energy = gaussian.reduce((sum, v) => sum + v * v, 0) / SIZE;
    expect(meanSquare('codebook4', gaussian, WHOLE_TENSOR) / energy / 0.009497).toBeLessThan(1.02);
  });

  it.each([2, 3, 4])('find even levels for uniform numbers: %i bits', (bits) => {
    // Cells of width 2/2^b.
    const even = (2 / 2 ** bits) ** 2 / 12;
    expect(meanSquare(`codebook${bits}`, uniform, WHOLE_TENSOR) / even).toBeGreaterThan(0.97);
    expect(meanSquare(`codebook${bits}`, uniform, WHOLE_TENSOR) / even).toBeLessThan(1.03);
  });

  it('keep what is exactly zero where much is', () => {
    const pruned = gaussian.map((v, i) => (i % 2 === 0 ? 0 : v + 0.3));
    const { format, ...fitted } = fitTensor(parseFormat('codebook3'), pruned, WHOLE_TENSOR, {
      method: 'mse',
      symmetric: true,
    });
    const back = dequantize(format, quantize(format, pruned, WHOLE_TENSOR, fitted), WHOLE_TENSOR);
    pruned.forEach((v, i) => {
      if (v === 0) expect(back[i]).toBe(0);
    });
  });

  it('represent a tensor of few values exactly', () => {
    const values = Float32Array.from({ length: 64 }, (_, i) => [-0.25, 0, 0.5][i % 3] ?? 0);
    expect(meanSquare('codebook2', values, WHOLE_TENSOR)).toBe(0);
  });

  it('count the bytes of their table, whatever the number of scales', () => {
    const format = parseFormat('codebook4');
    expect(tensorBytes(format, { count: 1000, groups: 1 })).toBe(500 + 4 + 64);
    expect(tensorBytes(format, { count: 1000, groups: 10 })).toBe(500 + 40 + 64);
    expect(tensorBytes(parseFormat('codebook2'), { count: 1000, groups: 1 })).toBe(250 + 4 + 16);
  });
});
