/** The size arithmetic of GPUSQ-ViT (arXiv 2305.10727), on files as they are written. */
import { statSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { packWeight, parsePattern, readSidecar, writeSidecar } from '../../../src/solve/sparsity/index.js';
import { maskByScore, patternColumns } from '../../../src/solve/sparsity/pattern.js';
import { temporaryFolder } from '../../helpers/folder.js';

const folder = temporaryFolder();

test.each([
  ['2:4', 8, 6.4],
  ['4:8/2', 4, 12.8],
  ['2:4', 4, 128 / 12],
] as const)('%s in %i bits packs float32 by %d', (text, bits, ratio) => {
  const pattern = parsePattern(text);
  const size = 256;
  const layout = {
    dims: [size, size],
    groups: 1,
    out: size,
    in: size,
    kernel: 1,
    inputMajor: false,
    outAxis: 0,
    inAxis: 1,
  };
  const scores = Float64Array.from({ length: size * size }, (_, i) => Math.abs(Math.sin(i * 12.9898)));
  const mask = maskByScore(scores, size, patternColumns(layout), pattern);
  const codes = Int32Array.from(mask, (kept, i) => (kept === 1 ? ((i * 7919) % 15) - 7 : 0));
  const packed = packWeight(layout, codes, pattern, bits, true);
  const floatBytes = 4 * size * size;
  expect(floatBytes / (packed.values.length + packed.indices.length)).toBeCloseTo(ratio, 10);
  // In the file, scales and the header come on top: the paper's 12.7 for INT4.
  const path = join(folder, `${bits}.sparse.safetensors`);
  writeSidecar(path, [{ initializer: 'w', packed, scale: new Float32Array(size).fill(0.1) }]);
  expect(floatBytes / statSync(path).size).toBeGreaterThan(0.9 * ratio);
  expect(floatBytes / statSync(path).size).toBeLessThan(ratio);
  expect(readSidecar(path)[0]!.packed).toEqual(packed);
});
