/** Codes in bytes run in integer kernels where packed ones do not, and the warning about speed says so. */
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { createContext } from '../../src/core/index.js';
import { readModel, storedTensors } from '../../src/onnx/index.js';
import { quantize, type QuantizeResult } from '../../src/pipeline/index.js';
import { slowerNote, type Speed } from '../../src/pipeline/speed.js';
import { fashionRequest } from '../helpers/fashion.js';
import { temporaryFolder } from '../helpers/folder.js';

const folder = temporaryFolder();

function run(weights: string): Promise<QuantizeResult> {
  const plan = { weights, activations: 'uint8', solver: 'nearest' };
  const request = fashionRequest(join(folder, `${weights}.onnx`), plan, { dryRun: false });
  return quantize(request, createContext({ threads: 1 }));
}

describe('weights of 4 bits in bytes', () => {
  it('run in integer kernels, where packed ones do not', async () => {
    const [packed, bytes] = [await run('int4'), await run('int4-bytes')];
    expect(packed.audit.integer).toBe(0);
    expect(bytes.audit.integer).toBe(bytes.audit.nodes.length);
    const model = readModel(join(folder, 'int4-bytes.onnx'));
    const types = new Set([...storedTensors(model.graph)].map((t) => t.dtype));
    expect(types).toContain('int8');
    expect(types).not.toContain('int4');
  });
});

describe('slowerNote', () => {
  const timing = (ms: number): Speed['float'] => ({ median: ms, low: ms, high: ms });
  const slow = { float: timing(1), quantized: timing(2) };

  it('is silent about models that are not slower', () => {
    expect(slowerNote({ float: timing(2), quantized: timing(1) }, ['int4'])).toBeUndefined();
  });

  it('names the format in bytes where weights are packed', () => {
    expect(slowerNote(slow, ['int3'])?.message).toContain('int3-bytes has integer kernels');
    expect(slowerNote(slow, ['int8'])?.message).toContain('--preset weight-only');
    expect(slowerNote(slow, ['int4-bytes'])?.message).toContain('--preset weight-only');
  });
});
