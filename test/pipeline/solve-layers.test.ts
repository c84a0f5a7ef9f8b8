/** Solved weights from the quantize program: better than nearest on unseen samples, repeatable, resumable. */
import { readFileSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { createContext } from '../../src/core/index.js';
import { quantize, type QuantizeRequest, type QuantizeResult } from '../../src/pipeline/index.js';
import { type PlanSettings } from '../../src/plan/index.js';
import { fashionImages, fashionRequest, fashionSqnr } from '../helpers/fashion.js';
import { temporaryFolder } from '../helpers/folder.js';

const folder = temporaryFolder();

function request(
  out: string,
  plan: Partial<PlanSettings>,
  changes: Partial<QuantizeRequest> = {},
): QuantizeRequest {
  return fashionRequest(
    join(folder, out),
    { weights: 'int3', ...plan },
    {
      statistics: { kind: 'data', spec: fashionImages('calibration', [0, 128]) },
      dryRun: false,
      ...changes,
    },
  );
}

const run = (r: QuantizeRequest, threads = 0): Promise<QuantizeResult> =>
  quantize(r, createContext({ threads }));

describe('solvers in the quantize program', () => {
  let nearest = 0;
  beforeAll(async () => {
    const r = request('nearest.onnx', { solver: 'nearest' });
    expect((await run(r)).layers).toEqual([]);
    nearest = await fashionSqnr(r.out);
  });

  it('improves the outputs on images that no solver saw, in one pass and more front to back', async () => {
    const fast = request('fast.onnx', { solver: 'descent' });
    const balanced = request('balanced.onnx', { solver: 'descent' }, { solving: { effort: 'balanced' } });
    const { layers } = await run(fast);
    await run(balanced);
    expect(layers).toHaveLength(17);
    const [a, b] = [await fashionSqnr(fast.out), await fashionSqnr(balanced.out)];
    expect(a).toBeGreaterThan(nearest + 3);
    expect(b).toBeGreaterThan(a);
  });

  it('chooses descent by itself below 8 bits and nearest at 8', async () => {
    const low = await run(request('auto3.onnx', { solver: 'auto' }));
    expect(new Set(low.layers.map((l) => l.solver))).toEqual(new Set(['descent']));
    const eight = await run(request('auto8.onnx', { solver: 'auto', weights: 'int8' }));
    expect(eight.layers).toEqual([]);
  });

  it('gives the same bytes for one and two threads, and from a cache that an interrupt left half full', async () => {
    const cache = join(folder, 'cache');
    const solving = { effort: 'balanced', cache } as const;
    const first = request('one.onnx', { solver: 'descent', activations: 'uint8' }, { solving });
    await run(first, 1);
    const files = readdirSync(cache).sort();
    expect(files).toHaveLength(17);
    for (const file of files.slice(0, 8)) rmSync(join(cache, file));
    const second = { ...first, out: join(folder, 'two.onnx') };
    await run(second, 2);
    expect(readFileSync(second.out).equals(readFileSync(first.out))).toBe(true);
    expect(readdirSync(cache).sort()).toEqual(files);
  });

  it('says what is missing when a solver has no data', async () => {
    const { statistics: _none, ...rest } = request('none.onnx', { solver: 'descent' });
    await expect(run(rest)).rejects.toMatchObject({
      code: 'E_USAGE',
      message: expect.stringContaining('needs data'),
    });
  });

  it('refuses formats whose codes are not the integers of a range', async () => {
    await expect(run(request('nf4.onnx', { solver: 'gptq', weights: 'nf4' }))).rejects.toMatchObject({
      code: 'E_FORMAT',
    });
  });
});
