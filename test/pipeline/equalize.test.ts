/** Smoothing and absorption on models with known trouble: the same floats, less error, and nothing to gain without trouble. */
import { describe, expect, it } from 'vitest';
import { createContext, createRng, type Rng } from '../../src/core/index.js';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { openDataSet, type DataSpec } from '../../src/data/index.js';
import { inferValueTypes } from '../../src/engine/index.js';
import {
  byBlock,
  byChannel,
  dequantize,
  fitGroups,
  parseFormat,
  quantize,
  WHOLE_TENSOR,
} from '../../src/formats/index.js';
import { feedInputs, type Model } from '../../src/onnx/index.js';
import { equalize } from '../../src/pipeline/equalize.js';
import { type EqualizeRequest } from '../../src/rewrite/index.js';
import { DEFAULT_SETTINGS } from '../../src/plan/index.js';
import { tensor, writeNpy, type Tensor } from '../../src/tensor/index.js';
import { openSmoothingMeter } from '../../src/solve/smoothing-error.js';
import { expectEquivalent } from '../helpers/equivalence.js';
import { temporaryFolder } from '../helpers/folder.js';
import { model } from '../helpers/model.js';

const folder = temporaryFolder();
const CLOSE = { atol: 1e-4, rtol: 1e-5 };

/** Normal samples, with some channels far wider than the others. */
function samples(name: string, dims: readonly number[], width: (channel: number) => number): DataSpec {
  const rng = createRng(3);
  const channels = dims.at(-1) ?? 1;
  const size = dims.reduce((a, b) => a * b, 1);
  const values = Float32Array.from({ length: size }, (_, i) => width(i % channels) * rng.normal());
  const path = join(folder, `${name}.npy`);
  writeFileSync(path, writeNpy(tensor('float32', dims, values)));
  return { path };
}

async function run(
  source: Model,
  spec: DataSpec | undefined,
  request: Partial<EqualizeRequest>,
): ReturnType<typeof equalize> {
  const loaded = { source, model: source, types: await inferValueTypes(source), notes: [], applied: [] };
  const full = { steps: ['smooth'], alpha: 'auto', insert: false, ...request } as const;
  return equalize(loaded, full, DEFAULT_SETTINGS, spec, createContext({ threads: 1 }));
}

const OUTLIERS = [3, 11];

/** A normalization whose gain has outliers, read by two products. */
const normalized = (gain: readonly number[], tail = ''): Model => model`
  opset 21
  (float32[N,4,16] x) => (float32[N,4,8] y, float32[N,4,8] z) {
    g: float32[16] = {${gain}}
    b: float32[16] = random(scale=0.1)
    w1: float32[16,8] = random(scale=0.25)
    w2: float32[16,8] = random(scale=0.25)
    n = [norm] LayerNormalization<axis=-1>(x, g, b)
    ${tail}
    y = [p] MatMul(n, w1)
    z = [q] MatMul(n, w2)
  }`;

const gains = Array.from({ length: 16 }, (_, c) => (OUTLIERS.includes(c) ? 40 : 1));

describe('smoothing', () => {
  it('shares outlier channels between activation and weights, with one scale for all readers', async () => {
    const source = normalized(gains);
    const spec = samples('outliers', [64, 4, 16], () => 1);
    const { loaded, report } = await run(source, spec, {});
    await expectEquivalent(loaded.model, source, CLOSE);
    const [group] = report.smoothed;
    expect(report.smoothed).toHaveLength(1);
    expect(group?.readers).toEqual(['p', 'q']);
    expect(group?.inserted).toBe(false);
    expect(loaded.model.graph.nodes).toHaveLength(source.graph.nodes.length);
    expect(group?.alpha).toBeGreaterThan(0.2);
    expect(group?.alpha).toBeLessThan(1);
    expect(group?.ratio.after).toBeLessThan((group?.ratio.before ?? 0) / 2);
    expect(group?.heldOut?.after).toBeLessThan((group?.heldOut?.before ?? 0) / 3);
  });

  it('has an error curve over α that is lowest between the ends', async () => {
    const rng = createRng(1);
    const wide = (c: number): number => (OUTLIERS.includes(c) ? 60 : 1);
    const x = random(rng, [256, 16], wide);
    const w = random(rng, [16, 24], () => 0.3);
    const meter = await openSmoothingMeter(
      { weight: w, weights: 'int8', granularity: 'tensor', activations: 'uint8' },
      1,
    );
    const reach = Array.from({ length: 16 }, (_, c) => columnMax(x.data as Float32Array, 16, c));
    const rows = Array.from({ length: 16 }, (_, c) => rowMax(w.data as Float32Array, 24, c));
    const at = (alpha: number): Promise<number> =>
      meter.error(
        x,
        Float64Array.from(reach, (r, c) => r ** alpha / (rows[c] ?? 1) ** (1 - alpha)),
      );
    const [none, middle, all] = [await at(0), await at(0.5), await at(1)];
    const unscaled = await meter.error(x, new Float64Array(16).fill(1));
    await meter.release();
    expect(middle).toBeLessThan(none / 5);
    expect(middle).toBeLessThan(all / 2);
    expect(middle).toBeLessThan(unscaled / 4);
  });

  it.each(['tensor', 'channel', { block: 4 }] as const)(
    'is measured with the scales that weights will have: %j',
    async (granularity) => {
      const rng = createRng(2);
      const [rows, depth, outputs] = [32, 10, 6];
      const x = random(rng, [rows, depth], () => 1);
      const w = random(rng, [depth, outputs], (c) => (c === 0 ? 5 : 1));
      const dims = [depth, outputs];
      const grouping =
        granularity === 'tensor'
          ? WHOLE_TENSOR
          : granularity === 'channel'
            ? byChannel(dims, 1)
            : byBlock(dims, 0, granularity.block);
      const format = parseFormat('int4');
      const fitted = fitGroups(format, w.data as Float32Array, grouping, {
        method: 'range',
        symmetric: true,
      });
      const rounded = dequantize(
        format,
        quantize(format, w.data as Float32Array, grouping, fitted),
        grouping,
      );
      const product = (v: ArrayLike<number>): number[] =>
        Array.from({ length: rows * outputs }, (_, i) => {
          const [r, o] = [Math.floor(i / outputs), i % outputs];
          let sum = 0;
          for (let d = 0; d < depth; d++)
            sum += ((x.data as Float32Array)[r * depth + d] ?? 0) * (v[d * outputs + o] ?? 0);
          return sum;
        });
      const [exact, own] = [product(w.data as Float32Array), product(rounded)];
      const squares = (v: readonly number[]): number => v.reduce((sum, y) => sum + y * y, 0);
      const expected = squares(exact.map((y, i) => y - (own[i] ?? 0))) / squares(exact);
      const meter = await openSmoothingMeter(
        { weight: w, weights: 'int4', granularity, activations: 'float' },
        1,
      );
      const error = await meter.error(x, new Float64Array(depth).fill(1));
      await meter.release();
      expect(error / expected).toBeCloseTo(1, 4);
    },
  );

  it('has next to nothing to gain without outliers', async () => {
    const { report } = await run(
      normalized(gains.map(() => 1)),
      samples('even', [64, 4, 16], () => 1),
      {},
    );
    const { before = 0, after = 0 } = report.smoothed[0]?.fit ?? {};
    expect(after).toBeGreaterThan(before / 2);
  });

  it('leaves a value alone that others read, unless a multiplication may be put in', async () => {
    const source = normalized(gains, 's = [soft] Softmax(n)\n t = [also] Add(s, x)');
    const withReader = { ...source, graph: { ...source.graph, outputs: [...source.graph.outputs] } };
    const spec = samples('outliers2', [64, 4, 16], () => 1);
    expect((await run(withReader, spec, {})).report.smoothed).toEqual([]);
    const { loaded, report } = await run(withReader, spec, { insert: true });
    expect(report.smoothed.map((g) => [g.inserted, g.readers])).toEqual([[true, ['p', 'q']]]);
    expect(loaded.model.graph.nodes.filter((n) => n.opType === 'Mul')).toHaveLength(1);
    await expectEquivalent(loaded.model, source, CLOSE);
  });

  it('folds into the gain of a normalization that is spelt out, and through a gate into a layer', async () => {
    const source = model`
      opset 21
      (float32[N,4,16] x) => (float32[N,4,16] y) {
        g: float32[16] = {${gains}}
        wg: float32[16,16] = random(scale=0.25)
        wu: float32[16,16] = random(scale=0.25)
        wd: float32[16,16] = random(scale=0.25)
        one: int64[1] = {-1}
        sq = Mul(x, x)
        m = ReduceMean(sq, one)
        r = Sqrt(m)
        d = Div(x, r)
        n = [gain] Mul(d, g)
        a = [gate] MatMul(n, wg)
        sg = Sigmoid(a)
        u = [up] MatMul(n, wu)
        h = [gated] Mul(sg, u)
        y = [down] MatMul(h, wd)
      }`;
    const { loaded, report } = await run(
      source,
      samples('rms', [64, 4, 16], () => 1),
      { alpha: 0.5 },
    );
    expect(report.smoothed.map((g) => g.readers)).toEqual([['gate', 'up'], ['down']]);
    expect(loaded.model.graph.nodes).toHaveLength(source.graph.nodes.length);
    await expectEquivalent(loaded.model, source, CLOSE);
  });

  it('says what is missing without data', async () => {
    await expect(run(normalized(gains), undefined, {})).rejects.toMatchObject({ code: 'E_USAGE' });
  });
});

describe('absorption of biases', () => {
  const biased = (padding: string): Model => model`
    opset 21
    (float32[N,3,6,6] x) => (float32[N,4,?,?] y) {
      w1: float32[4,3,1,1] = random(scale=0.2)
      b1: float32[4] = {9, -1, 0, 7}
      w2: float32[4,4,3,3] = random(scale=0.2)
      b2: float32[4] = random()
      a = [a] Conv(x, w1, b1)
      r = Relu(a)
      y = [b] Conv<${padding}>(r, w2, b2)
    }`;

  it('moves what a channel never falls below behind the Relu', async () => {
    const source = biased('strides=[1, 1]');
    const spec = samples('bias', [32, 3, 6, 6], () => 1);
    const { loaded, report } = await run(source, spec, { steps: ['absorb'] });
    expect(report.absorbed).toMatchObject([{ from: 'a', to: ['b'], channels: 4, absorbed: 2 }]);
    const { before, after } = report.absorbed[0]?.reach ?? { before: 0, after: 0 };
    expect(after).toBeLessThan(before / 2);
    const data = await openDataSet(spec, feedInputs(source.graph), createContext());
    for await (const { inputs } of data.batches(32))
      await expectEquivalent(loaded.model, source, CLOSE, { feeds: Object.fromEntries(inputs) });
  });

  it('leaves padded layers alone, which would see zeros where the shift should be', async () => {
    const source = biased('pads=[1, 1, 1, 1]');
    const { loaded, report } = await run(
      source,
      samples('padded', [32, 3, 6, 6], () => 1),
      {
        steps: ['absorb'],
      },
    );
    expect(report.absorbed).toEqual([]);
    expect(loaded.model).toBe(source);
  });
});

function random(rng: Rng, dims: readonly [number, number], width: (c: number) => number): Tensor {
  const [rows, cols] = dims;
  return tensor(
    'float32',
    dims,
    Float32Array.from({ length: rows * cols }, (_, i) => width(i % cols) * rng.normal()),
  );
}

function columnMax(values: Float32Array, cols: number, c: number): number {
  return values.reduce((most, v, i) => (i % cols === c ? Math.max(most, Math.abs(v)) : most), 0);
}

function rowMax(values: Float32Array, cols: number, r: number): number {
  return values.subarray(r * cols, (r + 1) * cols).reduce((most, v) => Math.max(most, Math.abs(v)), 0);
}
