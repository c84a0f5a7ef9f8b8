/** Scales, zero points, groups and sizes. */
import { describe, expect, it } from 'vitest';
import { createRng } from '../../src/core/index.js';
import {
  WHOLE_TENSOR,
  byBlock,
  byChannel,
  dequantize,
  fitGroups,
  fitParameters,
  meanSquaredError,
  parametersForRange,
  parseFormat,
  quantize,
  raiseScale,
  tensorBytes,
} from '../../src/formats/index.js';

const rng = createRng(3);
const normal = (n: number): Float64Array => Float64Array.from({ length: n }, () => rng.normal());
const laplace = (n: number): Float64Array =>
  Float64Array.from({ length: n }, () => Math.log(1 - rng.uniform()) * (rng.uniform() < 0.5 ? 1 : -1));

describe('parametersForRange', () => {
  const uint8 = parseFormat('uint8');

  it('covers the range and represents zero exactly', () => {
    const { scale, zeroPoint } = parametersForRange(uint8, { low: -1, high: 3 }, { symmetric: false });
    expect(scale).toBe(Math.fround(4 / 255));
    expect(zeroPoint).toBe(64);
    expect(uint8.decode(uint8.encode(0, zeroPoint), zeroPoint)).toBe(0);
  });

  it('stretches a one-sided range to include zero', () => {
    expect(parametersForRange(uint8, { low: 2, high: 3 }, { symmetric: false })).toEqual({
      scale: Math.fround(3 / 255),
      zeroPoint: 0,
    });
    expect(parametersForRange(uint8, { low: -3, high: -2 }, { symmetric: false }).zeroPoint).toBe(255);
  });

  it('keeps the zero point at 0 for symmetric and non-affine formats', () => {
    for (const [name, symmetric] of [
      ['int8', true],
      ['fix8', false],
      ['e4m3', false],
    ] as const)
      expect(parametersForRange(parseFormat(name), { low: -1, high: 3 }, { symmetric }).zeroPoint).toBe(0);
  });

  it('survives an all-zero tensor', () => {
    const format = parseFormat('int8');
    const zeros = new Float32Array(4);
    const parameters = fitGroups(format, zeros, WHOLE_TENSOR, { method: 'mse', symmetric: true });
    expect(dequantize(format, quantize(format, zeros, WHOLE_TENSOR, parameters), WHOLE_TENSOR)).toEqual(
      zeros,
    );
  });
});

describe('shared exponents', () => {
  it.each([
    ['fix8', 0.99, 2 ** -7],
    ['fix8', 1, 2 ** -7],
    ['fix8', 1.01, 2 ** -6],
    ['fix8.3', 1000, 2 ** -3],
    ['fix8.-2', 1, 4],
    ['ufix8', 0.99, 2 ** -8],
    ['dfp8', 0.99, 2 ** -7],
    // A maximum of exactly 2^k stays inside for DFP and saturates by one unit for fixed point.
    ['dfp8', 1, 2 ** -6],
    ['mxfp4', 7.9, 1],
    ['mxfp4', 8, 2],
    ['mxint8', 1.99, 2 ** -6],
    ['bfp16', 1.99, 2 ** -6],
  ])('%s for ±%d', (name, absmax, scale) => expect(parseFormat(name).scaleFor(absmax)).toBe(scale));

  it('lets the largest elements of an MX block saturate, as the standard says', () => {
    const format = parseFormat('mxfp4');
    const scale = format.scaleFor(7.9);
    expect(format.decode(format.encode(7.9 / scale)) * scale).toBe(6);
  });

  it('keeps the NVFP4 block scale on the E4M3 grid of the tensor', () => {
    const format = parseFormat('nvfp4');
    const e4m3 = parseFormat('e4m3');
    const unit = 12 / (6 * 448);
    const steps = format.scaleFor(1, 12) / Math.fround(unit);
    expect(e4m3.decode(e4m3.encode(steps))).toBeCloseTo(steps, 4);
    expect(format.scaleFor(12, 12)).toBeCloseTo(2, 6);
  });
});

describe('raiseScale', () => {
  it.each([
    ['int8', 0.1, 0.05, 0.1],
    ['int8', 0.1, 0.3, Math.fround(0.3)],
    ['fix8', 0.125, 0.3, 0.5],
    ['fix8', 0.125, 0.5, 0.5],
  ])('%s: %d to at least %d', (name, scale, minimum, expected) =>
    expect(raiseScale(parseFormat(name), scale, minimum)).toBe(expected),
  );
});

describe('fitParameters', () => {
  it.each(['int4', 'int4-narrow', 'uint4', 'fix4', 'e2m1', 'mxfp4'])(
    'mse is never worse than range: %s',
    (name) => {
      const format = parseFormat(name);
      const sample = { values: laplace(2000) };
      const error = (method: 'range' | 'mse'): number =>
        meanSquaredError(format, sample, fitParameters(format, sample, { method, symmetric: true }));
      expect(error('mse')).toBeLessThanOrEqual(error('range'));
    },
  );

  it('finds the clip of a 4-bit Gaussian', () => {
    const sample = { values: normal(65536) };
    const format = parseFormat('int4-narrow');
    const range = fitParameters(format, sample, { method: 'range', symmetric: true });
    const mse = fitParameters(format, sample, { method: 'mse', symmetric: true });
    // 0.0381 by absmax and 0.0130 clipped.
    expect(meanSquaredError(format, sample, range)).toBeGreaterThan(0.028);
    expect(meanSquaredError(format, sample, mse)).toBeCloseTo(0.013, 3);
    expect(mse.scale * 7).toBeCloseTo(2.4, 0);
  });

  it('weighs histogram bins by their counts', () => {
    const format = parseFormat('int4');
    const values = [0.1, 0.9, -0.4, 3];
    const counts = [50, 20, 30, 1];
    const repeated = values.flatMap((v, i) => new Array<number>(counts[i]!).fill(v));
    const options = { method: 'mse', symmetric: true } as const;
    expect(fitParameters(format, { values, counts }, options)).toEqual(
      fitParameters(format, { values: repeated }, options),
    );
  });

  it('ignores NaN, infinities and values that never occur', () => {
    const format = parseFormat('int8');
    const sample = { values: [1, NaN, Infinity, 100], counts: [1, 1, 1, 0] };
    expect(fitParameters(format, sample, { method: 'range', symmetric: true }).scale).toBe(
      Math.fround(1 / 127),
    );
  });
});

describe('binary point by exhaustive search against min-max (QFX)', () => {
  /** Mean over tensors of any size of MSE(range) / MSE(search). */
  function gain(bits: number): number {
    const format = parseFormat(`fix${bits}`);
    const ratios = Array.from({ length: 24 }, (_, i) => {
      const spread = 2 ** (i / 24);
      const sample = { values: laplace(4096).map((x) => x * spread) };
      const [range, mse] = (['range', 'mse'] as const).map((method) =>
        meanSquaredError(format, sample, fitParameters(format, sample, { method, symmetric: true })),
      );
      return range! / mse!;
    });
    return ratios.reduce((a, b) => a + b) / ratios.length;
  }

  it('gains much at 4 bits, less at 6, next to nothing at 8', () => {
    const [at4, at6, at8] = [gain(4), gain(6), gain(8)] as [number, number, number];
    expect(at4).toBeGreaterThan(3);
    expect(at6).toBeGreaterThan(1.5);
    expect(at6).toBeLessThan(at4);
    expect(at8).toBeLessThan(1.5);
  });
});

describe('groups', () => {
  it('follow a channel axis', () => {
    const g = byChannel([2, 3, 2], 1);
    expect(Array.from({ length: 12 }, (_, i) => g.of(i))).toEqual([0, 0, 1, 1, 2, 2, 0, 0, 1, 1, 2, 2]);
  });

  it('cut an axis into blocks, numbered as ONNX lays out blocked scales', () => {
    const g = byBlock([5, 2], 0, 2);
    expect(g.count).toBe(6);
    expect(Array.from({ length: 10 }, (_, i) => g.of(i))).toEqual([0, 1, 0, 1, 2, 3, 2, 3, 4, 5]);
  });

  it('get their own scale', () => {
    const format = parseFormat('int8');
    const values = [1, -2, 10, 20];
    const { scale } = fitGroups(format, values, byChannel([2, 2], 0), { method: 'range', symmetric: true });
    expect(Array.from(scale)).toEqual([Math.fround(2 / 127), Math.fround(20 / 127)]);
  });
});

describe('tensorBytes', () => {
  it.each([
    ['int8', { count: 100, groups: 4 }, 100 + 16],
    ['int8', { count: 100, groups: 4, asymmetric: true }, 100 + 16 + 4],
    ['int4', { count: 101, groups: 2 }, 51 + 8],
    ['int3', { count: 100, groups: 1 }, 50 + 4],
    ['mxfp8', { count: 64, groups: 2 }, 64 + 2],
    ['mxfp4', { count: 64, groups: 2 }, 32 + 2 + 64],
    ['nvfp4', { count: 64, groups: 4 }, 32 + 4 + 4 + 64],
    ['fp16', { count: 10, groups: 1 }, 20],
  ])('%s %o', (name, size, bytes) => expect(tensorBytes(parseFormat(name), size)).toBe(bytes));
});
