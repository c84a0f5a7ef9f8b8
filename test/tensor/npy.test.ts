import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { FxqError } from '../../src/core/index.js';
import {
  readNpy,
  readNpz,
  tensor,
  toNumbers,
  unpack,
  writeNpy,
  writeNpz,
  type DType,
  type Tensor,
} from '../../src/tensor/index.js';

const bytes = (base64: string): Uint8Array => Uint8Array.from(Buffer.from(base64, 'base64'));

// Written by NumPy 2.4: arange(6, dtype=float32).reshape(2, 3) in several ways, and others.
const C_ORDER =
  'k05VTVBZAQB2AHsnZGVzY3InOiAnPGY0JywgJ2ZvcnRyYW5fb3JkZXInOiBGYWxzZSwgJ3NoYXBlJzogKDIsIDMpLCB9ICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgIAoAAAAAAACAPwAAAEAAAEBAAACAQAAAoEA=';
const FORTRAN_ORDER =
  'k05VTVBZAQB2AHsnZGVzY3InOiAnPGY0JywgJ2ZvcnRyYW5fb3JkZXInOiBUcnVlLCAnc2hhcGUnOiAoMiwgMyksIH0gICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgIAoAAAAAAABAQAAAgD8AAIBAAAAAQAAAoEA=';
const VERSION_2 =
  'k05VTVBZAgB0AAAAeydkZXNjcic6ICc8ZjQnLCAnZm9ydHJhbl9vcmRlcic6IEZhbHNlLCAnc2hhcGUnOiAoMiwgMyksIH0gICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgIAoAAAAAAACAPwAAAEAAAEBAAACAQAAAoEA=';
const BIG_ENDIAN =
  'k05VTVBZAQB2AHsnZGVzY3InOiAnPmY0JywgJ2ZvcnRyYW5fb3JkZXInOiBGYWxzZSwgJ3NoYXBlJzogKDIsIDMpLCB9ICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgIAoAAAAAP4AAAEAAAABAQAAAQIAAAECgAAA=';
const SCALAR =
  'k05VTVBZAQB2AHsnZGVzY3InOiAnPGY4JywgJ2ZvcnRyYW5fb3JkZXInOiBGYWxzZSwgJ3NoYXBlJzogKCksIH0gICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgIAoAAAAAAADgPw==';
const BOOLEANS =
  'k05VTVBZAQB2AHsnZGVzY3InOiAnfGIxJywgJ2ZvcnRyYW5fb3JkZXInOiBGYWxzZSwgJ3NoYXBlJzogKDIsKSwgfSAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgIAoBAA==';
const STRINGS =
  'k05VTVBZAQB2AHsnZGVzY3InOiAnPFUyJywgJ2ZvcnRyYW5fb3JkZXInOiBGYWxzZSwgJ3NoYXBlJzogKDIsKSwgfSAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgIAphAAAAYgAAAGMAAAAAAAAA';
const ARCHIVE =
  'UEsDBC0AAAAIAAAAIQBP6QAq//////////8FABQAeC5ucHkBABAAmAAAAAAAAABVAAAAAAAAAJvsF+obEMnIUMZQrZ6SWpxcpG6loG6TZqKuo6Cell9UUpSYF59flJIKEndLzClOBYoXZyQWpAL5GkY6CsaaOgq1CmQDLgYwaLAHEg5ABMQNQLzAAQBQSwMELQAAAAgAAAAhAJr79SP//////////wUAFAB5Lm5weQEAEACQAAAAAAAAAEsAAAAAAAAAm+wX6hsQychQxlCtnpJanFykbqWgbpNpoa6joJ6WX1RSlJgXn1+UkgoSd0vMKU4FihdnJBakAvkaRjqaOgq1ChQALkYGCPj3HwIAUEsBAi0DLQAAAAgAAAAhAE/pACpVAAAAmAAAAAUAAAAAAAAAAAAAAIABAAAAAHgubnB5UEsBAi0DLQAAAAgAAAAhAJr79SNLAAAAkAAAAAUAAAAAAAAAAAAAAIABjAAAAHkubnB5UEsFBgAAAAACAAIAZgAAAA4BAAAAAA==';

describe('.npy of NumPy', () => {
  it.each([
    ['C order', C_ORDER],
    ['Fortran order', FORTRAN_ORDER],
    ['version 2', VERSION_2],
  ])('in %s', (_name, file) => {
    const read = readNpy(bytes(file), 'a.npy');
    expect([read.dtype, read.dims, toNumbers(read)]).toEqual(['float32', [2, 3], [0, 1, 2, 3, 4, 5]]);
  });

  it('of scalars and booleans', () => {
    expect(readNpy(bytes(SCALAR), 'a.npy')).toEqual(tensor('float64', [], [0.5]));
    expect(readNpy(bytes(BOOLEANS), 'a.npy')).toEqual(tensor('bool', [2], [1, 0]));
  });

  it('is written in the same bytes', () =>
    expect(Buffer.from(writeNpy(tensor('float32', [2, 3], [0, 1, 2, 3, 4, 5]))).toString('base64')).toBe(
      C_ORDER,
    ));

  it.each([
    ['big-endian', bytes(BIG_ENDIAN), 'big-endian arrays are not supported'],
    ['strings', bytes(STRINGS), 'element type <U2 is not supported'],
    [
      'truncated elements',
      bytes(C_ORDER).subarray(0, 140),
      'it is truncated: 12 of 24 bytes for shape [2, 3]',
    ],
    ['a truncated header', bytes(C_ORDER).subarray(0, 40), 'the header has no element type or shape'],
    ['another file', Buffer.from('PK..'), 'the magic string is missing'],
    [
      'a huge shape',
      Buffer.from(Buffer.from(C_ORDER, 'base64').toString('latin1').replace('(2, 3)', '(9e9,)'), 'latin1'),
      'it is truncated',
    ],
    [
      'a shape that is none',
      Buffer.from(Buffer.from(C_ORDER, 'base64').toString('latin1').replace('(2, 3)', '(-2, )'), 'latin1'),
      'its shape is (-2, )',
    ],
  ])('refuses %s', (_name, file, message) => {
    expect(() => readNpy(file, 'data/x.npy')).toThrow(`data/x.npy is not a readable .npy array: ${message}`);
    expect(() => readNpy(file, 'data/x.npy')).toThrow(FxqError);
  });
});

const DTYPES: DType[] = [
  'float32',
  'float64',
  'float16',
  'int8',
  'uint8',
  'int16',
  'uint16',
  'int32',
  'uint32',
  'int64',
  'uint64',
  'bool',
];

/** Tensors of every type that NumPy has, any bits in them. */
const anyTensor: fc.Arbitrary<Tensor> = fc
  .tuple(fc.constantFrom(...DTYPES), fc.array(fc.nat(3), { maxLength: 4 }))
  .chain(([dtype, dims]) => {
    const length = dims.reduce((a, b) => a * b, 1);
    const { byteLength } = tensor(dtype, dims).data;
    return fc
      .uint8Array({ minLength: byteLength, maxLength: byteLength })
      .map((raw) => ({ dtype, dims, data: unpack(dtype, raw, length) }));
  });

describe('round trips', () => {
  it('of .npy', () =>
    fc.assert(fc.property(anyTensor, (t) => void expect(readNpy(writeNpy(t), 'a.npy')).toEqual(t))));

  it('of .npz, with the same bytes each time', () =>
    fc.assert(
      fc.property(
        fc.dictionary(
          fc.string({ minLength: 1, maxLength: 8 }).filter((s) => !s.endsWith('.npy')),
          anyTensor,
          { maxKeys: 4 },
        ),
        (arrays) => {
          const map = new Map(Object.entries(arrays));
          expect(readNpz(writeNpz(map), 'a.npz')).toEqual(map);
          expect(Buffer.from(writeNpz(map)).equals(writeNpz(map))).toBe(true);
        },
      ),
      { numRuns: 50 },
    ));

  it('of NumPy archives with 64-bit sizes', () => {
    const read = readNpz(bytes(ARCHIVE), 'a.npz');
    expect([...read.keys()]).toEqual(['x', 'y']);
    expect(read.get('y')).toEqual(tensor('int64', [2], [1n, -2n]));
  });

  it('refuses what is no archive, naming the entry', () => {
    expect(() => readNpz(Buffer.from('hello'), 'b.npz')).toThrow('b.npz is not a readable .npz archive');
    expect(() => readNpz(bytes(ARCHIVE).subarray(0, 200), 'b.npz')).toThrow(
      'b.npz is not a readable .npz archive',
    );
  });

  it('refuses types that NumPy does not have', () =>
    expect(() => writeNpy(tensor('bfloat16', [1]))).toThrow('bfloat16 has no NumPy element type'));
});
