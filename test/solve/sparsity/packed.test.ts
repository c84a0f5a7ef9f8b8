import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import fc from 'fast-check';
import { createRng } from '../../../src/core/index.js';
import { fromMatrix, matrixSize, type WeightLayout } from '../../../src/solve/weight-layout.js';
import {
  groupBits,
  maskByScore,
  packWeight,
  parsePattern,
  patternColumns,
  readSidecar,
  unpackWeight,
  writeSidecar,
} from '../../../src/solve/sparsity/index.js';

const folder = mkdtempSync(join(tmpdir(), 'fxq-sparse-'));
afterAll(() => rmSync(folder, { recursive: true }));

const conv = (out: number, depth: number, kernel: number): WeightLayout => ({
  dims: [out, depth, kernel, 1],
  groups: 1,
  out,
  in: depth,
  kernel,
  inputMajor: false,
  outAxis: 0,
  inAxis: 1,
});
const matMul = (depth: number, out: number): WeightLayout => ({
  dims: [depth, out],
  groups: 1,
  out,
  in: depth,
  kernel: 1,
  inputMajor: true,
  outAxis: 1,
  inAxis: 0,
});

/** Random codes that keep a pattern, in the initializer's order. */
function sparseCodes(layout: WeightLayout, text: string, bits: number, seed: number): Int32Array {
  const rng = createRng(seed);
  const { rows, cols } = matrixSize(layout);
  const scores = Float64Array.from({ length: rows * cols }, () => rng.uniform());
  const mask = maskByScore(scores, rows, patternColumns(layout), parsePattern(text));
  const low = -(2 ** (bits - 1));
  return fromMatrix(
    layout,
    Int32Array.from(mask, (kept) => (kept === 1 && rng.uniform() < 0.9 ? low + rng.below(2 ** bits) : 0)),
  );
}

describe('packWeight', () => {
  test('lays out values and 2-bit indices as documented', () => {
    const codes = [0, 5, -3, 0, 7, 0, 0, 0];
    const { values, indices } = packWeight(conv(1, 8, 1), codes, parsePattern('2:4'), 8, true);
    // Group 0 keeps positions 1 and 2; group 1 position 0, filled up with 1.
    expect(Array.from(values)).toEqual([5, 253, 7, 0]);
    expect(Array.from(indices)).toEqual([1 | (2 << 2) | (0 << 4) | (1 << 6)]);
  });

  test('round trip of any layout, pattern and width', () => {
    fc.assert(
      fc.property(
        fc.constantFrom(conv(3, 16, 4), conv(5, 8, 1), matMul(16, 3)),
        fc.constantFrom('2:4', '1:4', '4:8', '4:8/2'),
        fc.constantFrom(2, 3, 4, 8),
        fc.nat(),
        (layout, text, bits, seed) => {
          const codes = sparseCodes(layout, text, bits, seed);
          const packed = packWeight(layout, codes, parsePattern(text), bits, true);
          expect(unpackWeight(packed)).toEqual(codes);
        },
      ),
      { numRuns: 100, seed: 3 },
    );
  });

  test('refuses codes that break the pattern', () => {
    const codes = [1, 1, 1, 0, 0, 0, 0, 0];
    const pack = () => packWeight(conv(1, 8, 1), codes, parsePattern('2:4'), 8, true);
    expect(pack).toThrowError('breaks the pattern 2:4 at row 0, position 0');
  });

  // methods notes, section 6: 20 of 32 bits in int8, 20 of 64 (int4 in pairs) of what int8 dense takes.
  test.each([
    ['2:4', 8, 20, 6.4],
    ['4:8/2', 4, 20, 12.8],
    ['2:4', 4, 12, 10.67],
  ])('%s in %i bits: %i bits a group, %f times smaller than float32', (text, bits, group, ratio) => {
    const pattern = parsePattern(text);
    expect(groupBits(pattern, bits)).toBe(group);
    const layout = conv(32, 64, 9);
    const { values, indices } = packWeight(layout, sparseCodes(layout, text, bits, 1), pattern, bits, true);
    expect((32 * 64 * 9 * 4) / (values.length + indices.length)).toBeCloseTo(ratio, 2);
  });
});

describe('the sidecar', () => {
  const path = join(folder, 'model.sparse');
  const layouts = [conv(8, 16, 9), matMul(32, 5)];
  const weights = layouts.map((layout, i) => ({
    initializer: `w${i}`,
    packed: packWeight(layout, sparseCodes(layout, '2:4', 8, i), parsePattern('2:4'), 8, true),
    scale: Float32Array.from({ length: layout.out }, (_, c) => (c + 1) / 7),
  }));

  test('comes back as written, the same bytes every time', () => {
    writeSidecar(path, weights);
    const first = readFileSync(path);
    expect(readSidecar(path)).toEqual(weights);
    writeSidecar(path, weights);
    expect(readFileSync(path).equals(first)).toBe(true);
  });

  test('is a safetensors file: header length, JSON, contiguous data', () => {
    writeSidecar(path, weights);
    const bytes = readFileSync(path);
    const length = Number(bytes.readBigUInt64LE(0));
    expect(length % 8).toBe(0);
    const { __metadata__, ...entries } = JSON.parse(bytes.toString('utf8', 8, 8 + length)) as Record<
      string,
      { data_offsets: [number, number] }
    >;
    const offsets = Object.values(entries).map((e) => e.data_offsets);
    offsets.sort((a, b) => a[0] - b[0]);
    expect(offsets[0]![0]).toBe(0);
    offsets.slice(1).forEach(([from], i) => expect(from).toBe(offsets[i]![1]));
    expect(offsets[offsets.length - 1]![1]).toBe(bytes.length - 8 - length);
  });

  test.each([
    ['truncated', (b: Buffer) => b.subarray(0, b.length - 3)],
    ['empty', () => Buffer.alloc(0)],
    ['another file', () => Buffer.from('PK\u0003\u0004 something else entirely')],
  ])('refuses a %s file', (_, damage) => {
    writeSidecar(path, weights);
    const damaged = join(folder, 'damaged.sparse');
    writeFileSync(damaged, damage(readFileSync(path)));
    expect(() => readSidecar(damaged)).toThrowError(expect.objectContaining({ code: 'E_DATA' }));
  });
});
