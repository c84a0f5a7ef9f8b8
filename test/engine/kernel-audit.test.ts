import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { auditKernels } from '../../src/engine/index.js';
import { readModel, writeModel } from '../../src/onnx/index.js';
import { temporaryFolder } from '../helpers/folder.js';
import { model } from '../helpers/model.js';

const folder = temporaryFolder();

describe('auditKernels', () => {
  it('reads what the runtime makes of a model whose weights are in a file', async () => {
    const path = join(folder, 'external.onnx');
    writeModel(
      model`
        opset 17
        (float32[N,64] x) => (float32[N,64] y) {
          w: float32[64,64] = random()
          y = MatMul(x, w)
        }`,
      path,
      { externalData: true },
    );
    const { nodes } = await auditKernels(readModel(path));
    expect(nodes.map((node) => node.opType)).toEqual(['MatMul']);
  });
});
