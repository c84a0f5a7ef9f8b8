import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  bfloat16ToNumber,
  float16ToNumber,
  numberToBfloat16,
  numberToFloat16,
  roundHalfEven,
} from '../../src/tensor/index.js';

const CODES = Array.from({ length: 0x10000 }, (_, i) => i);

const view = new DataView(new ArrayBuffer(4));

/** binary16 → binary32 by moving the bit fields (subnormals are normalized by a subtraction in float32). */
function halfByBits(code: number): number {
  const sign = (code & 0x8000) << 16;
  const field = (code & 0x7fff) << 13;
  const exponent = field & 0x0f800000;
  let bits = field + (112 << 23);
  if (exponent === 0x0f800000) bits += 112 << 23;
  else if (exponent === 0) {
    view.setUint32(0, bits + (1 << 23));
    view.setFloat32(0, view.getFloat32(0) - 2 ** -14);
    bits = view.getUint32(0);
  }
  view.setUint32(0, bits | sign);
  return view.getFloat32(0);
}

describe('float16', () => {
  it('has the value of its bit pattern, for all 65,536', () => {
    const wrong = CODES.filter((code) => !Object.is(float16ToNumber(code), halfByBits(code)));
    expect(wrong).toEqual([]);
  });

  it('comes back from its value, for all that are numbers', () => {
    const wrong = CODES.filter((code) => {
      const value = float16ToNumber(code);
      return !Number.isNaN(value) && numberToFloat16(value) !== code;
    });
    expect(wrong).toEqual([]);
    expect(Number.isNaN(float16ToNumber(numberToFloat16(NaN)))).toBe(true);
  });

  it('is the nearest one, the even one of two, between any two neighbours', () => {
    const wrong: number[] = [];
    for (let code = 0; code < 0x7bff; code++) {
      const low = float16ToNumber(code);
      const high = float16ToNumber(code + 1);
      const middle = (low + high) / 2;
      const even = code % 2 === 0 ? code : code + 1;
      const nudge = (high - low) * 1e-6;
      const got = [middle, middle - nudge, middle + nudge, -middle].map(numberToFloat16);
      if (got.join() !== [even, code, code + 1, even | 0x8000].join()) wrong.push(code);
    }
    expect(wrong).toEqual([]);
  });

  it('overflows to infinity from the middle of the last step on', () => {
    expect([65519.99, 65520, 1e10, -65520].map(numberToFloat16)).toEqual([0x7bff, 0x7c00, 0x7c00, 0xfc00]);
    expect([2 ** -25, 2 ** -25 * 1.01, -0].map(numberToFloat16)).toEqual([0, 1, 0x8000]);
  });
});

describe('bfloat16', () => {
  it('comes back from its value, for all that are numbers', () => {
    const wrong = CODES.filter((code) => {
      const value = bfloat16ToNumber(code);
      return !Number.isNaN(value) && numberToBfloat16(value) !== code;
    });
    expect(wrong).toEqual([]);
    expect(Number.isNaN(bfloat16ToNumber(numberToBfloat16(NaN)))).toBe(true);
  });

  it('is the nearest one, the even one of two, between any two neighbours', () => {
    const wrong: number[] = [];
    for (let code = 0; code < 0x7f7f; code++) {
      const low = bfloat16ToNumber(code);
      const high = bfloat16ToNumber(code + 1);
      const middle = low + (high - low) / 2;
      const even = code % 2 === 0 ? code : code + 1;
      const quarter = (high - low) / 4;
      const got = [middle, middle - quarter, middle + quarter].map(numberToBfloat16);
      if (got.join() !== [even, code, code + 1].join()) wrong.push(code);
    }
    expect(wrong).toEqual([]);
  });
});

describe('roundHalfEven', () => {
  it('rounds as ONNX operators do', () =>
    expect([-2.5, -1.5, -0.5, 0.5, 1.5, 2.5, 2.4999, 2.5001].map(roundHalfEven)).toEqual([
      -2, -2, 0, 0, 2, 2, 2, 3,
    ]));

  it('is nearest, and even on ties', () =>
    fc.assert(
      fc.property(fc.double({ min: -1e6, max: 1e6, noNaN: true }), (x) => {
        const rounded = roundHalfEven(x);
        expect(Math.abs(rounded - x)).toBeLessThanOrEqual(0.5);
        if (Math.abs(rounded - x) === 0.5) expect(Math.abs(rounded % 2)).toBe(0);
      }),
    ));
});
