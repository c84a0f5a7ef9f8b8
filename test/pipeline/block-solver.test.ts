/** `--solver block` from the quantize program: what it buys and says, controls, same bytes, continued runs. */
import { readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { createContext } from '../../src/core/index.js';
import { openSession } from '../../src/engine/index.js';
import { readModel, writeModel } from '../../src/onnx/index.js';
import { quantize, type QuantizeRequest, type QuantizeResult } from '../../src/pipeline/index.js';
import { DEFAULT_SETTINGS, type PlanSettings } from '../../src/plan/index.js';
import { type BlockReport } from '../../src/solve/index.js';
import { errorSums, sqnr, toFloat32, writeNpy, type Tensor } from '../../src/tensor/index.js';
import { temporaryFolder } from '../helpers/folder.js';
import { toyImages, toyNetwork } from '../solve/block/toy-network.js';

const folder = temporaryFolder();
const path = join(folder, 'toy.onnx');
const data = join(folder, 'x.npy');

beforeAll(() => {
  writeModel(toyNetwork(), path);
  writeFileSync(data, writeNpy(toyImages(3, 160)));
});

const OPTIONS = { iterations: 300, batch: 16 } as const;

function request(
  out: string,
  plan: Partial<PlanSettings>,
  solving: Partial<QuantizeRequest['solving']> = {},
): QuantizeRequest {
  return {
    model: path,
    out: join(folder, out),
    plan: { ...DEFAULT_SETTINGS, weights: 'int2', activations: 'uint8', solver: 'block', ...plan },
    emit: 'qdq',
    ranges: { method: 'minmax' },
    weightRange: 'mse',
    statistics: { kind: 'data', spec: { path: data } },
    solving: { effort: 'fast', block: OPTIONS, ...solving },
    avoidSaturation: false,
    externalData: false,
    dryRun: false,
    locked: false,
  };
}

const run = (r: QuantizeRequest, threads = 1): Promise<QuantizeResult> =>
  quantize(r, createContext({ seed: 0, threads }));

/** Signal-to-noise ratio of the logits on images that nothing was fitted to. */
async function quality(file: string): Promise<number> {
  const images = toyImages(99, 256);
  const results: Tensor[] = [];
  for (const source of [path, file]) {
    const session = await openSession(readModel(source));
    results.push((await session.run({ x: images })).get('logits') as Tensor);
    await session.release();
  }
  const [float, quantized] = results as [Tensor, Tensor];
  return sqnr(errorSums(toFloat32(float), toFloat32(quantized)));
}

const blocksOf = ({ layers }: QuantizeResult): BlockReport[] => [
  ...new Set(layers.flatMap((l) => l.block ?? [])),
];

describe('the block solver', () => {
  it('beats the layer solver it starts from, on images that neither saw', async () => {
    const own = request('block.onnx', {});
    const layerwise = request('descent.onnx', { solver: 'descent' });
    const result = await run(own);
    await run(layerwise);
    expect(await quality(own.out)).toBeGreaterThan((await quality(layerwise.out)) + 1);
    const [block, ...more] = blocksOf(result);
    expect(more).toEqual([]);
    expect(block).toMatchObject({
      layers: ['first', 'depthwise', 'pointwise', 'head'],
      adopted: true,
    });
    for (const stage of [block?.error.fit, block?.error.heldOut]) {
      expect(stage?.learned).toBeLessThan(0.8 * (stage?.start ?? 0));
      expect(stage?.start).toBeLessThanOrEqual(stage?.nearest ?? 0);
    }
    expect(new Set(result.layers.map((l) => l.solver))).toEqual(new Set(['block']));
    expect(JSON.parse(readFileSync(result.manifestFile, 'utf8'))).toMatchObject({
      weights: { w0: { solver: 'block', block: { adopted: true } } },
    });
  });

  it('has nothing to gain at 8 bits', async () => {
    const [block] = blocksOf(await run(request('eight.onnx', { weights: 'int8' })));
    expect(block?.error.heldOut?.learned).toBeGreaterThan(0.5 * (block?.error.heldOut?.start ?? 0));
  });

  it('learns by sign descent, without drops and without importance, and only the layers that ask for it', async () => {
    const block = { ...OPTIONS, rounding: 'sign', drop: 0, importance: false, join: 1 } as const;
    const nodes = [{ match: { node: 'head' }, solver: 'nearest' }];
    const result = await run(request('sign.onnx', { weights: 'int3', nodes }, { block }));
    expect(blocksOf(result).map((b) => b.layers)).toEqual([['first'], ['depthwise', 'pointwise']]);
    for (const { error, adopted } of blocksOf(result)) {
      expect(error.fit.learned).toBeLessThan(error.fit.nearest);
      if (!adopted) continue;
      expect(error.heldOut?.learned).toBeLessThan(error.heldOut?.start ?? 0);
    }
  });

  it('gives the same bytes for one and two threads, and from a cache that an interrupt left half full', async () => {
    const cache = join(folder, 'cache');
    const block = { iterations: 20, batch: 16, join: 1 };
    const first = request('one.onnx', {}, { block, cache, effort: 'balanced' });
    await run(first, 1);
    const files = readdirSync(cache).sort();
    // Four layers front to back and in one pass, three blocks.
    expect(files).toHaveLength(11);
    for (const file of files.filter((_, i) => i % 2 === 0)) rmSync(join(cache, file));
    const second = { ...first, out: join(folder, 'two.onnx') };
    await run(second, 2);
    expect(readFileSync(second.out).equals(readFileSync(first.out))).toBe(true);
    expect(readdirSync(cache).sort()).toEqual(files);
  });
});
