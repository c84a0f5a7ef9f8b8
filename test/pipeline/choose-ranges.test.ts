import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { type RangeMethod } from '../../src/calibrate/index.js';
import { createContext } from '../../src/core/index.js';
import { quantize } from '../../src/pipeline/index.js';
import { type PlanSettings } from '../../src/plan/index.js';
import { fashionRequest, fashionSqnr } from '../helpers/fashion.js';
import { temporaryFolder } from '../helpers/folder.js';

const folder = temporaryFolder();

interface Written {
  readonly sqnr: number;
  /** The line that says what was tried. */
  readonly tried: string;
}

async function write(plan: Partial<PlanSettings>, method: RangeMethod | 'auto'): Promise<Written> {
  const out = join(folder, `${method}.onnx`);
  const request = fashionRequest(out, plan, { ranges: { method }, weightRange: 'auto', dryRun: false });
  const lines: string[] = [];
  const start = (): ReturnType<ReturnType<typeof createContext>['start']> => ({
    update: () => undefined,
    finish: (text = '') => void lines.push(text),
  });
  await quantize(request, { ...createContext(), start });
  return {
    sqnr: await fashionSqnr(out),
    tried: lines.find((line) => line.startsWith('Ranges by')) ?? '',
  };
}

describe('auto ranges', () => {
  it('do not fear clipping that solvers make up for', async () => {
    const plan = { weights: 'int4', activations: 'uint4', solver: 'descent' };
    const [auto, percentile] = [await write(plan, 'auto'), await write(plan, 'percentile')];
    expect(auto.tried).toMatch(/\(weights range [^;]*; weights mse [^;]*; mse [^;]*; layer-error [^;]*\)$/);
    // Of the unsolved activations, percentile comes closest.
    expect(auto.sqnr).toBeGreaterThan(percentile.sqnr + 3);
  });

  it('are tried with float weights where solvers round these to few bits', async () => {
    const plan = { weights: 'int2', activations: 'uint8', solver: 'descent' };
    const { tried } = await write(plan, 'auto');
    // Rounded to nearest, 2 bits leave the network next to nothing: no method would get above 5 dB.
    for (const method of ['mse', 'layer-error'])
      expect(Number(new RegExp(`; ${method} ([\\d.]+) dB`).exec(tried)?.[1])).toBeGreaterThan(15);
  });

  it('are tried together with weights that are rounded to nearest', async () => {
    const { tried } = await write({ weights: 'int8', activations: 'uint4' }, 'auto');
    expect(tried).toMatch(/\(minmax [^;]*; minmax, weights mse .*; entropy/);
  });
});
