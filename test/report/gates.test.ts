import { describe, expect, it } from 'vitest';
import { FxqError } from '../../src/core/index.js';
import { checkGates, parseGate } from '../../src/report/gates.js';
import { compareWithBaseline, quantities } from '../../src/report/quantities.js';
import { formatMeasure, parseMeasure } from '../../src/report/units.js';
import { sampleResult } from './sample-result.js';

const measured = quantities(sampleResult);
const check = (...gates: string[]): boolean[] =>
  checkGates(
    gates.map((g) => parseGate(g)),
    measured,
  ).map((g) => g.passed);

function message(run: () => unknown): string {
  try {
    run();
  } catch (error) {
    if (error instanceof FxqError) return `${error.code}: ${error.message} ${error.fix.join(' ')}`;
    throw error;
  }
  return 'nothing was thrown';
}

describe('parseGate', () => {
  it.each([
    ['top1.drop <= 0.5', 'top1.drop', '<=', 0.5, ''],
    ['size<4MB', 'size', '<', 4e6, 'B'],
    ['latency.quantized >= 250 us', 'latency.quantized', '>=', 0.25, 'ms'],
    ['size.ratio <= 30 %', 'size.ratio', '<=', 30, '%'],
    ['layer./a b/Conv.own > -1e1dB', 'layer./a b/Conv.own', '>', -10, 'dB'],
    ['kernels.float == 0', 'kernels.float', '==', 0, ''],
  ])('%s', (text, quantity, operator, value, unit) => {
    expect(parseGate(text)).toMatchObject({ quantity, operator, limit: { value, unit } });
  });

  it.each(['top1', '<= 3', 'top1 => 3', 'top1 <= 3 parsecs', 'top1 <= x', 'top1 <= 1 <= 2', ''])(
    'refuses %j',
    (text) => {
      expect(message(() => parseGate(text))).toMatch(/^E_USAGE/);
    },
  );
});

describe('checkGates', () => {
  it('compares with the measured values', () => {
    expect(check('top1.drop <= 1.5')).toEqual([true]);
    expect(check('top1.drop < 1.5')).toEqual([false]);
    expect(check('top1.drop <= 1.5 points')).toEqual([true]);
    expect(check('top1.drop <= 1.5 %')).toEqual([true]);
    expect(() => check('top1 >= 50 points')).toThrow(/gives points, but top1 has the unit %/);
    expect(check('cer.relative <= 1 %')).toEqual([true]);
    expect(check('layers.worst > 24.9')).toEqual([false]);
    expect(check('size.ratio <= 30')).toEqual([true]);
    expect(check('layer./head/Gemm_out.accumulated >= 31 dB')).toEqual([true]);
  });

  it('puts failed gates first, errors before warnings, the worst on top', () => {
    const gates = [
      parseGate('kernels.float >= 1'),
      parseGate('size <= 1 kB', 'warn'),
      parseGate('top1 >= 90'),
      parseGate('sqnr >= 90'),
    ];
    expect(checkGates(gates, measured).map((g) => g.gate)).toEqual([
      'sqnr >= 90',
      'top1 >= 90',
      'size <= 1 kB',
      'kernels.float >= 1',
    ]);
  });

  it('lets no gate pass on a value that is no number', () => {
    const broken = new Map([['auc', { value: NaN, unit: '%' }]]);
    for (const operator of ['<=', '>=', '<', '>', '=='])
      expect(checkGates([parseGate(`auc ${operator} 1`)], broken)[0]?.passed).toBe(false);
  });

  it('names every unknown quantity and wrong unit at once', () => {
    const text = message(() => check('top1.dorp <= 1', 'size <= 3 ms', 'sqnr > 3'));
    expect(text).toMatch(/^E_USAGE/);
    expect(text).toContain("Did you mean 'top1.drop'");
    expect(text).toContain('gives ms, but size has the unit B');
  });
});

describe('quantities', () => {
  it('names the worst output without its name', () => {
    expect(measured.get('sqnr')).toEqual({ value: 31.24, unit: 'dB' });
    expect(measured.get('output.features.sqnr')).toEqual({ value: 999, unit: 'dB' });
    expect(measured.get('kernels.share')?.value).toBeCloseTo(66.67, 2);
    expect(measured.get('latency.speedup')?.value).toBeCloseTo(1.3617, 3);
  });

  it('gives the change of every quantity both results have, single layers left out', () => {
    const before = { ...sampleResult, size: { ...sampleResult.size, quantized: 400000 }, metrics: [] };
    const deltas = compareWithBaseline(sampleResult, before);
    expect(deltas.find((d) => d.quantity === 'size')).toEqual({
      quantity: 'size',
      before: 400000,
      after: 372903,
      unit: 'B',
    });
    expect(deltas.some((d) => d.quantity.startsWith('layer.') || d.quantity.startsWith('top1'))).toBe(false);
  });
});

describe('units', () => {
  it.each([
    ['12', 12, ''],
    ['.5 %', 0.5, '%'],
    ['1.5 MiB', 1572864, 'B'],
    ['-3dB', -3, 'dB'],
    ['2 s', 2000, 'ms'],
    ['0.5 points', 0.5, 'points'],
  ])('reads %s', (text, value, unit) => expect(parseMeasure(text)).toEqual({ value, unit }));

  it.each(['', 'MB', '1 mb', '1 2', '0x10', 'NaN', 'toString'])('does not read %j', (text) =>
    expect(parseMeasure(text)).toBeUndefined(),
  );

  it.each([
    [1261811, 'B', '1.26 MB'],
    [0.8312, 'ms', '0.831 ms'],
    [1234.5, 'ms', '1235 ms'],
    [999, 'dB', 'exact'],
    [-999, 'dB', 'broken'],
    [87.7, '%', '87.70 %'],
    [0.5, 'points', '0.50 points'],
    [0.00001234, '', '0.00001234'],
    [NaN, '%', 'n/a'],
  ])('writes %d %s as %s', (value, unit, text) => expect(formatMeasure(value, unit)).toBe(text));
});
