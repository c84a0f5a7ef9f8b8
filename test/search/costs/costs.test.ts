import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import {
  HARDWARE,
  accumulatorBits,
  costsOf,
  findHardware,
  limitOf,
  macsByWidth,
  parseBudget,
  type CostedLayer,
  type Hardware,
  type LayerFormats,
} from '../../../src/search/costs/index.js';

const layer: CostedLayer = {
  node: 'conv',
  opType: 'Conv',
  macs: 1000,
  elements: 64 * 32 * 9,
  channels: 64,
  depth: 288,
  inputs: 32,
};
const cpu = HARDWARE['onnxruntime-cpu'];
const sparse = HARDWARE['sparse-tensor-cores'];
const formats = (weights: string, more: Partial<LayerFormats> = {}): LayerFormats => ({
  weights,
  activations: 'uint8',
  granularity: 'channel',
  ...more,
});
const size = (f: LayerFormats, hardware: Hardware = cpu): number =>
  costsOf(['size'], layer, f, hardware).size!;

describe('costs', () => {
  test('size is what is written: codes in their ONNX type, float32 scales, zero points', () => {
    const n = layer.elements;
    expect(size(formats('float'))).toBe(4 * n);
    expect(size(formats('int8'))).toBe(n + 64 * (4 + 1));
    expect(size(formats('int4'))).toBe(n / 2 + 64 * 4 + 32);
    // No ONNX type of its own: stored in the next wider one.
    expect(size(formats('int3'))).toBe(size(formats('int4')));
    expect(costsOf(['bits'], layer, formats('int3'), cpu).bits).toBe((3 * n) / 8);
    expect(size(formats('int4', { granularity: { block: 32 } }))).toBe(n / 2 + (n / 32) * 4 + n / 32 / 2);
    expect(size(formats('int8', { granularity: 'tensor' }))).toBe(n + 5);
  });

  test('sparsity costs what the target saves: nothing on dense kernels', () => {
    const two4 = formats('int8', { sparsity: '2:4' });
    expect(costsOf(['size', 'bops', 'macs'], layer, two4, cpu)).toEqual(
      costsOf(['size', 'bops', 'macs'], layer, formats('int8'), cpu),
    );
    expect(costsOf(['bops'], layer, two4, sparse).bops).toBe((1000 * 8 * 8) / 2);
    // 20 bits of values and indices for 4 weights, and the scales.
    expect(size(two4, sparse)).toBe((layer.elements / 4) * (20 / 8) + 64 * 4);
    expect(size(formats('int4', { sparsity: '4:8/2' }), sparse)).toBe(
      (layer.elements / 8) * (20 / 8) + 64 * 4,
    );
    // The pattern must be one the hardware has at that width.
    expect(costsOf(['macs'], layer, formats('int4', { sparsity: '2:4' }), sparse).macs).toBe(1000);
  });

  test('bit operations, multiplications by width, accumulator', () => {
    expect(costsOf(['bops'], layer, formats('int4', { activations: 'uint4' }), cpu).bops).toBe(16_000);
    expect(costsOf(['bops'], layer, formats('float', { activations: 'float' }), cpu).bops).toBe(
      1000 * 32 * 32,
    );
    const mixed = [formats('int8'), formats('int4'), formats('int8')];
    expect(macsByWidth([layer, layer, layer], mixed, cpu)).toEqual({ '4x8': 1000, '8x8': 2000 });
    expect(accumulatorBits(layer, formats('int8'))).toBe(8 + 8 + 9);
  });

  test('latency and energy come from a table, and a missing entry is named', () => {
    const board: Hardware = {
      name: 'board',
      sparse: [],
      energy: { mac: { '8x8': 0.2 }, byte: 10 },
      latency: {
        source: 'measured',
        microseconds: { 'Conv macs=1000 weights=18432 depth=288 int8/uint8 dense': 12 },
      },
    };
    const int8 = formats('int8');
    expect(costsOf(['latency'], layer, int8, board).latency).toBe(12);
    expect(costsOf(['energy'], layer, int8, board).energy).toBeCloseTo(1000 * 0.2 + size(int8) * 10, 9);
    expect(() => costsOf(['latency'], layer, formats('int4'), board)).toThrowError(
      "the hardware 'board' declares no latency of Conv macs=1000 weights=18432 depth=288 int4/uint8 dense",
    );
    expect(() => costsOf(['energy'], layer, int8, cpu)).toThrowError(
      "'onnxruntime-cpu' declares no energy of 8x8",
    );
  });
});

describe('findHardware', () => {
  const folder = mkdtempSync(join(tmpdir(), 'fxq-hardware-'));
  afterAll(() => rmSync(folder, { recursive: true }));
  const write = (content: string): string => {
    const path = join(folder, 'board.json');
    writeFileSync(path, content);
    return path;
  };
  test('knows profiles by name and reads files', () => {
    expect(findHardware('sparse-tensor-cores')).toBe(sparse);
    const profile = { name: 'board', sparse: [{ pattern: '1:4', bits: [8], work: 0.3 }] };
    expect(findHardware(write(JSON.stringify(profile)))).toEqual(profile);
  });
  test.each([
    ['{', 'not JSON'],
    ['{"sparse": []}', 'name must be text'],
    ['{"name": "b", "sparse": [{"pattern": "2:4"}]}', 'sparse must be a list'],
    ['{"name": "b", "energy": {"mac": {"8x8": "2"}, "byte": 1}}', 'energy must be'],
    ['{"name": "b", "latency": {"microseconds": {}}}', 'latency must be'],
  ])('refuses %s', (content, why) => {
    expect(() => findHardware(write(content))).toThrowError(why);
  });
  test('suggests a known name', () => {
    expect(() => findHardware('sparse-tensor-core')).toThrowError(
      expect.objectContaining({ code: 'E_USAGE' }),
    );
  });
});

describe('parseBudget', () => {
  test.each([
    ['size=25%', { kind: 'share', share: 0.25, of: 'float' }, 100],
    ['size=50%@int8', { kind: 'share', share: 0.5, of: 'int8' }, 50],
    ['size=120kB', { kind: 'absolute', value: 120_000 }, 120_000],
    ['size=1.5MiB', { kind: 'absolute', value: 1.5 * 2 ** 20 }, 1.5 * 2 ** 20],
    ['bops=2G', { kind: 'absolute', value: 2e9 }, 2e9],
    ['latency=3ms', { kind: 'absolute', value: 3000 }, 3000],
  ])('%s', (text, amount, limit) => {
    expect(parseBudget(text).amount).toEqual(amount);
    expect(limitOf(parseBudget(text), { float: 400, int8: 100 })).toBe(limit);
  });
  test.each([
    ['size', 'not of the form'],
    ['sise=25%', "no cost 'sise'"],
    ['size=0%', 'not a positive number'],
    ['size=25ms', "'ms' is no unit of size"],
    ['size=25%@int4', "no reference 'int4'"],
    ['size=100kB@int8', "'kB' is no unit"],
  ])('refuses %s', (text, why) => {
    expect(() => parseBudget(text)).toThrowError(why);
  });
});
