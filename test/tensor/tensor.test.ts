import { describe, expect, it } from 'vitest';
import { sizeOf, stridesOf, tensor, toFloat32, toNumbers } from '../../src/tensor/index.js';

describe('tensors', () => {
  it('are zero without data, and take numbers for 64-bit integers', () => {
    expect([...tensor('int64', [2]).data]).toEqual([0n, 0n]);
    expect([...tensor('int64', [2], [1, -1]).data]).toEqual([1n, -1n]);
    expect(tensor('float32', [], [0.1]).data[0]).toBe(Math.fround(0.1));
  });

  it('refuse data of another size', () =>
    expect(() => tensor('float32', [2, 2], [1, 2, 3])).toThrow('3 elements for shape [2, 2]'));

  it('convert to float32', () => {
    const same = tensor('float32', [1], [2]);
    expect(toFloat32(same)).toBe(same.data);
    expect([...toFloat32(tensor('float16', [2], [0x3c00, 0xc000]))]).toEqual([1, -2]);
    expect([...toFloat32(tensor('bfloat16', [2], [0x3f80, 0xc000]))]).toEqual([1, -2]);
    expect([...toFloat32(tensor('uint64', [1], [7n]))]).toEqual([7]);
    expect([...toFloat32(tensor('int8', [1], [-3]))]).toEqual([-3]);
    expect(toNumbers(tensor('int64', [2], [1n, -2n]))).toEqual([1, -2]);
  });

  it('have sizes and strides', () => {
    expect([sizeOf([]), sizeOf([2, 3]), sizeOf([2, 0])]).toEqual([1, 6, 0]);
    expect([stridesOf([2, 3, 4]), stridesOf([])]).toEqual([[12, 4, 1], []]);
  });
});
