/** Every code of every listed format: decode → encode gives it back, and encode picks the nearest level. */
import { describe, expect, it } from 'vitest';
import { formatNames, parseFormat, type NumberFormat } from '../../src/formats/index.js';

/** All codes of formats up to 16 bits; both ends, the middle and a stride of the wider ones. */
function codesOf({ low, high }: NumberFormat): number[] {
  const count = high - low + 1;
  const step = Math.max(1, Math.floor(count / 65536));
  const codes = [high];
  for (let code = low; code < high; code += step) codes.push(code);
  return codes;
}

const isLevel = (format: NumberFormat, code: number): boolean =>
  format.uniform || format.encode(format.decode(code)) === code;

/** Formats that by definition do not round to the nearest level. */
const NEAREST = (name: string): boolean => !/^power|^pot\d+t|AP_TRN/.test(name);

/** Formats with codes of single weights; those of several are in vector.test.ts. */
const SINGLE = formatNames().filter((name) => parseFormat(name).vector === undefined);

describe.each(SINGLE)('%s', (name) => {
  const format = parseFormat(name);

  it('has a canonical name', () => {
    expect(parseFormat(format.name).name).toBe(format.name);
    const span = format.high - format.low + 1;
    // A binary format leaves out the zero between its two codes.
    expect(format.bits).toBeGreaterThanOrEqual(Math.log2(name === 'binary' ? 2 : span));
  });

  it('gives back every code', () => {
    const wrong = codesOf(format).filter((code) => {
      const value = format.decode(code);
      if (Number.isNaN(value)) return !Number.isNaN(format.decode(format.encode(value)));
      if (format.integer && !format.uniform)
        return format.encode(format.encode(value)) !== format.encode(value);
      // An infinity has a code in E5M2, but values saturate, as in QuantizeLinear.
      if (!Number.isFinite(value) && format.family !== 'half') return false;
      return format.encode(value) !== code;
    });
    expect(wrong).toEqual([]);
  });

  it.runIf(NEAREST(name))('rounds to the nearest level', () => {
    const levels = codesOf(format)
      .filter((code) => isLevel(format, code))
      .map((code) => format.decode(code))
      .filter(Number.isFinite)
      .sort((a, b) => a - b);
    let wrong = 0;
    for (let i = 0; i + 1 < levels.length; i++) {
      const below = levels[i]!;
      const above = levels[i + 1]!;
      if (above === below || (format.uniform && above - below > 1)) continue;
      const middle = below + (above - below) / 2;
      const nudge = (above - below) / 1024;
      if (format.decode(format.encode(middle - nudge)) !== below) wrong++;
      if (format.decode(format.encode(middle + nudge)) !== above) wrong++;
      const tie = format.decode(format.encode(middle));
      if (tie !== below && tie !== above) wrong++;
    }
    expect(wrong).toBe(0);
  });

  it.runIf(format.family !== 'half' && !name.includes('AP_WRAP'))('saturates', () => {
    const values = codesOf(format)
      .map((code) => format.decode(format.encode(format.decode(code))))
      .filter(Number.isFinite);
    const top = values.reduce((a, b) => Math.max(a, b));
    const bottom = values.reduce((a, b) => Math.min(a, b));
    for (const big of [2 * top + 1, 1e30, Infinity]) expect(format.decode(format.encode(big))).toBe(top);
    for (const big of [2 * bottom - 1, -1e30, -Infinity])
      expect(format.decode(format.encode(big))).toBe(bottom);
  });

  it('has a finite positive float32 scale for every range', () => {
    for (const absmax of [0, 1e-38, 1e-3, 1, 2, 3, 1e4, 3e38]) {
      const scale = format.scaleFor(absmax);
      expect(scale).toBeGreaterThan(0);
      expect(Math.fround(scale)).toBe(scale);
    }
  });
});

describe('parseFormat', () => {
  it.each([
    ['int4', { bits: 4, signed: true, low: -8, high: 7, dtype: 'int4', opset: 21 }],
    ['uint8', { bits: 8, signed: false, low: 0, high: 255, dtype: 'uint8', opset: 13 }],
    ['int5', { bits: 5, low: -16, high: 15, dtype: 'int8' }],
    ['int3-narrow', { bits: 3, low: -3, high: 3, dtype: 'int4' }],
    ['uint16', { bits: 16, low: 0, high: 65535, dtype: 'uint16', opset: 21 }],
    ['int2', { bits: 2, low: -2, high: 1, dtype: 'int2', opset: 25 }],
    ['fix8.5', { bits: 8, low: -128, high: 127, scale: 'power-of-two', dtype: 'int8' }],
    ['fix8.5:AP_RND:AP_SAT_SYM', { low: -127, onnx: 'dequantize' }],
    ['mxfp4', { bits: 4, block: 32, scale: 'e8m0', onnx: 'table' }],
    ['nvfp4', { bits: 4, block: 16, scale: 'e4m3' }],
    ['e4m3', { bits: 8, dtype: 'float8e4m3fn', opset: 19 }],
  ])('%s', (name, expected) => expect(parseFormat(name)).toMatchObject(expected));

  it.each([
    'int9',
    'uint8-narrow',
    'fix1',
    'fix33',
    'fix8.5:AP_RND:NOPE',
    'ufix8:AP_TRN:AP_WRAP_SM',
    'pot8k8',
    '',
  ])('refuses %j', (name) => expect(() => parseFormat(name)).toThrow(/unknown number format/));

  it('suggests the nearest name', () => {
    try {
      parseFormat('mxpf4');
      expect.unreachable();
    } catch (error) {
      expect((error as { fix: string[] }).fix[0]).toContain("'mxfp4'");
    }
  });
});
