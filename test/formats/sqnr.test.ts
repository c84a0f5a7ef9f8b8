/** Signal-to-noise ratios on Gaussian data: every family loses what its grid predicts. */
import { describe, expect, it } from 'vitest';
import { createRng } from '../../src/core/index.js';
import {
  WHOLE_TENSOR,
  byBlock,
  dequantize,
  fitGroups,
  parseFormat,
  quantize,
  sampleAbsmax,
} from '../../src/formats/index.js';
import { errorSums, sqnr } from '../../src/tensor/index.js';

const rng = createRng(1);
const gaussian = Float32Array.from({ length: 2 ** 16 }, () => rng.normal());

function measure(name: string, values: Float32Array, block?: number): number {
  const format = parseFormat(name);
  const size = format.block ?? block;
  const grouping = size === undefined ? WHOLE_TENSOR : byBlock([values.length], 0, size);
  const parameters = fitGroups(format, values, grouping, { method: 'range', symmetric: true });
  return sqnr(
    errorSums(values, dequantize(format, quantize(format, values, grouping, parameters), grouping)),
  );
}

describe('SQNR of Gaussian data, dB', () => {
  it.each([
    ['mxint8', 41.7],
    ['mxfp8e4m3', 30.7],
    ['mxfp8e5m2', 25.3],
    ['mxfp6e2m3', 31.0],
    ['mxfp6e3m2', 25.3],
    ['mxfp4', 18.8],
    ['nvfp4', 20.5],
    ['e4m3', 31.6],
    ['e5m2', 25.6],
    ['dfp16', 83.0],
    ['dfp12', 59.0],
    ['dfp8', 34.9],
    // K signed powers of two: 14.4 dB a term; the top K bits of the magnitude: 8.9 dB a term.
    ['pot16k1', 14.3],
    ['pot16k2', 28.7],
    ['pot16k3', 43.2],
    ['pot16k4', 57.6],
    ['pot16t1', 10.1],
    ['pot16t2', 19.0],
    ['pot16t3', 27.7],
    ['pot16t4', 36.2],
  ])('%s', (name, expected) => expect(Math.abs(measure(name, gaussian) - expected)).toBeLessThan(0.3));

  it.each([
    [32, 20.3],
    [128, 18.6],
  ])('int4 with a float scale for %i', (block, expected) =>
    expect(Math.abs(measure('int4', gaussian, block) - expected)).toBeLessThan(0.3),
  );

  // Uniform noise of one step s = absmax/127 over unit variance; the value follows the largest sample.
  it('int8 per tensor is 12 / s²', () => {
    const step = sampleAbsmax({ values: gaussian }) / 127;
    expect(Math.abs(measure('int8', gaussian) - 10 * Math.log10(12 / step ** 2))).toBeLessThan(0.1);
  });

  it('heavy tails turn the order of int8 and e4m3 around', () => {
    const student = Float32Array.from(gaussian, (x) => {
      const chi = rng.normal() ** 2 + rng.normal() ** 2 + rng.normal() ** 2;
      return x / Math.sqrt(chi / 3);
    });
    expect(measure('int8', gaussian)).toBeGreaterThan(measure('e4m3', gaussian) + 6);
    expect(measure('e4m3', student)).toBeGreaterThan(measure('int8', student) + 10);
    expect(measure('nvfp4', student)).toBeGreaterThan(measure('mxfp4', student) + 2.5);
  });
});
