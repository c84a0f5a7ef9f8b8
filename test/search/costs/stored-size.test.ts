/** What a search counts as size against the bytes of the model that is written. */
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { createContext } from '../../../src/core/index.js';
import { storedTensors, tensorBytes } from '../../../src/onnx/index.js';
import { quantize } from '../../../src/pipeline/index.js';
import { type GranularitySetting } from '../../../src/plan/index.js';
import { costsOf, HARDWARE, type CostedLayer } from '../../../src/search/index.js';
import { findWeightedLayers, matrixSize } from '../../../src/solve/index.js';
import { fashionRequest } from '../../helpers/fashion.js';
import { temporaryFolder } from '../../helpers/folder.js';

const out = join(temporaryFolder(), 'cnn.onnx');
let layers: CostedLayer[];
let int8: number;

async function writtenBytes(weights: string, granularity: GranularitySetting = 'channel'): Promise<number> {
  const plan = { weights, granularity, solver: 'nearest' };
  const { model, source } = await quantize(fashionRequest(out, plan), createContext());
  layers = findWeightedLayers(source.graph).map(({ node, layout }) => {
    const { rows, cols } = matrixSize(layout);
    const size = { elements: rows * cols, channels: rows, depth: cols, inputs: layout.in };
    return { node: node.name, opType: node.opType, macs: 0, ...size };
  });
  return [...storedTensors(model.graph)].reduce((sum, stored) => sum + tensorBytes(stored), 0);
}

function counted(weights: string, granularity: GranularitySetting = 'channel'): number {
  const formats = { weights, granularity, activations: 'float' };
  return layers.reduce(
    (sum, layer) => sum + (costsOf(['size'], layer, formats, HARDWARE['onnxruntime-cpu']).size ?? NaN),
    0,
  );
}

beforeAll(async () => {
  int8 = await writtenBytes('int8');
});

describe('size', () => {
  it.each([
    ...['uint4', 'int3', 'int2', 'int16', 'fix8.5', 'dfp8', 'pot8k2', 'ternary', 'e4m3', 'e2m1', 'fp16'],
    ...['mxfp4', 'mxfp8', 'mxint8', 'nvfp4', 'bfp16', 'nf4', 'codebook3', 'power4', 'power8'],
  ])('of %s is what is written', async (format) => {
    expect((await writtenBytes(format)) - int8).toBe(counted(format) - counted('int8'));
  });

  it.each(['tensor', { block: 16 }] as const)(
    'of weights with a scale for each %j is what is written',
    async (kind) => {
      expect((await writtenBytes('int4', kind)) - int8).toBe(counted('int4', kind) - counted('int8'));
    },
  );

  it('of vectors is at least what is written, and not much more', async () => {
    const spare = counted('vector4d2') - counted('int8') - ((await writtenBytes('vector4d2')) - int8);
    expect(spare).toBeGreaterThanOrEqual(0);
    expect(spare).toBeLessThanOrEqual(64 * layers.length);
  });
});
