import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  createArray,
  dtypeBits,
  dtypeCode,
  dtypeFromCode,
  ELEMENT_TYPES,
  integerRange,
  pack,
  storedBytes,
  unpack,
  type DType,
} from '../../src/tensor/index.js';

const ALL = Object.keys(ELEMENT_TYPES) as DType[];
const NARROW = ['int4', 'uint4', 'int2', 'uint2', 'float4e2m1'] as const;

describe('element types', () => {
  it.each(ALL)('%s has a code of its own and an array of its width', (dtype) => {
    expect(dtypeFromCode(dtypeCode(dtype))).toBe(dtype);
    const host = createArray(dtype, 3);
    expect(host.length).toBe(3);
    expect(host.BYTES_PER_ELEMENT).toBe(Math.max(1, dtypeBits(dtype) / 8));
  });

  it('does not know strings, complex128 and codes to come', () =>
    expect([0, 8, 15, 27, -1].map(dtypeFromCode)).toEqual(Array(5).fill(undefined)));

  it.each([
    ['int2', -2, 1],
    ['uint2', 0, 3],
    ['int4', -8, 7],
    ['uint4', 0, 15],
    ['int8', -128, 127],
    ['uint16', 0, 65535],
    ['int32', -(2 ** 31), 2 ** 31 - 1],
  ] as const)('%s holds %d to %d', (dtype, low, high) => expect(integerRange(dtype)).toEqual({ low, high }));
});

describe('packing', () => {
  // The layout of the ONNX specification, byte by byte: the first element in the lowest bits.
  it.each([
    ['int4', [-1, 7, -8], [0x7f, 0x08]],
    ['uint4', [15, 7, 8], [0x7f, 0x08]],
    ['int2', [1, -1, -2, 0, -1], [0b00_10_11_01, 0b11]],
    ['uint2', [1, 3, 2, 0, 3], [0b00_10_11_01, 0b11]],
  ] as const)('of %s puts the first element lowest', (dtype, values, bytes) => {
    const host = createArray(dtype, values.length) as Int8Array;
    host.set(values);
    expect([...pack(dtype, host)]).toEqual(bytes);
    expect([...unpack(dtype, Uint8Array.from(bytes), values.length)]).toEqual(values);
  });

  it.each(ALL)('of %s loses nothing', (dtype) => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 64 }), (bytes) => {
        const length = Math.floor((bytes.length * 8) / dtypeBits(dtype));
        const stored = bytes.subarray(0, storedBytes(dtype, length));
        const again = pack(dtype, unpack(dtype, stored, length));
        expect([...again]).toEqual([...stored]);
      }),
    );
  });

  it.each(NARROW)('of %s gives back every value, and zeros the bits to spare', (dtype) => {
    const { low, high } = dtype.includes('int') ? integerRange(dtype) : { low: 0, high: 15 };
    fc.assert(
      fc.property(fc.array(fc.integer({ min: low, max: high }), { maxLength: 40 }), (values) => {
        const host = createArray(dtype, values.length) as Int8Array;
        host.set(values);
        const bytes = pack(dtype, host);
        expect(bytes.length).toBe(Math.ceil((values.length * dtypeBits(dtype)) / 8));
        expect([...unpack(dtype, bytes, values.length)]).toEqual(values);
        const used = (values.length * dtypeBits(dtype)) % 8;
        if (used > 0) expect((bytes.at(-1) ?? 0) >> used).toBe(0);
      }),
    );
  });

  it('copies, so that a tensor does not hold the file it was read from', () => {
    const bytes = new Uint8Array(8);
    const host = unpack('float32', bytes, 2);
    bytes.fill(255);
    expect([...host]).toEqual([0, 0]);
  });

  it('refuses a wrong number of bytes', () => {
    expect(() => unpack('float32', new Uint8Array(7), 2)).toThrow(
      '2 elements of float32 take 8 bytes, found 7',
    );
    expect(() => unpack('int4', new Uint8Array(1), 3)).toThrow('3 elements of int4 take 2 bytes, found 1');
  });
});
