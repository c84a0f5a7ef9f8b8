/** Thresholds on activations: their rule against others, their target, and what the written model does. */
import { beforeAll, describe, expect, it } from 'vitest';
import { createContext } from '../../src/core/index.js';
import { openSession, type Batch } from '../../src/engine/index.js';
import { type Model } from '../../src/onnx/index.js';
import {
  findActivationSites,
  openMeter,
  parseSparsityTarget,
  sparsifyActivations,
  thresholdSearch,
  withThresholds,
  type ActivationSite,
} from '../../src/solve/index.js';
import { toFloat32 } from '../../src/tensor/index.js';
import { model } from '../helpers/model.js';
import { samplesOf } from '../search/study.js';

const ctx = createContext({ threads: 1 });
const [WIDTH, HIDDEN] = [16, 96];

/** A gated network; `spread` makes some neurons of the last layer count much more than others. */
function gated(activation: 'Relu' | 'Silu', spread: boolean): Model {
  const act =
    activation === 'Relu'
      ? 'h = Relu(g)'
      : `s = Sigmoid(g)
         h = Mul(g, s)`;
  const columns = Array.from({ length: HIDDEN }, (_, i) => (spread ? 2 ** ((i % 9) - 4) : 1));
  return model`
    opset 18
    (float32[N,${WIDTH}] x) => (float32[N,${WIDTH}] y) {
      wg: float32[${WIDTH},${HIDDEN}] = random(scale=0.25)
      wu: float32[${WIDTH},${HIDDEN}] = random(scale=0.25)
      wd: float32[${HIDDEN},${WIDTH}] = {${columns.flatMap((c, i) => Array.from({ length: WIDTH }, (_, j) => c * Math.cos(3.7 * (i * WIDTH + j))))}}
      g = [gate] MatMul(x, wg)
      u = [up] MatMul(x, wu)
      ${act}
      m = Mul(h, u)
      y = [down] MatMul(m, wd)
    }`;
}

const batches = samplesOf('x', [WIDTH], 96);
const [fit, heldOut] = [batches.slice(0, 8), batches.slice(8)];

/** Share left out at a CETT, with thresholds on what `site` says. */
async function sparsityAt(
  net: Model,
  cett: number,
  change = (s: ActivationSite): ActivationSite => s,
): Promise<number> {
  const sites = findActivationSites(net.graph).map(change);
  const meter = await openMeter(net, sites, 'y', ctx);
  const natural = await meter.dense(
    sites.map(() => 0),
    fit,
  );
  const search = thresholdSearch(
    meter,
    sites,
    fit,
    natural.map((m) => m.largest),
  );
  const thresholds = await search(cett);
  const [measure] = await meter.dense(thresholds, fit);
  await meter.release();
  expect(measure?.cett).toBeLessThanOrEqual(cett);
  expect(measure?.cett).toBeGreaterThan(0.95 * cett);
  return measure?.sparsity ?? NaN;
}

/** Every neuron counts alike: thresholds on magnitudes. */
const byMagnitude = (site: ActivationSite): ActivationSite => ({ ...site, norms: site.norms.map(() => 1) });

describe('sites', () => {
  it('are layers behind activations, also through gates', () => {
    const [site, ...others] = findActivationSites(gated('Silu', true).graph);
    expect(site).toMatchObject({ activation: 'Sigmoid', layer: { node: { name: 'down' } } });
    expect(others).toEqual([]);
  });

  it('are not layers that read sums, products of layers or model inputs', () => {
    const linear = model`
      opset 18
      (float32[N,4] x) => (float32[N,4] y) {
        w: float32[4,4] = random()
        v: float32[4,4] = random()
        h = MatMul(x, w)
        s = Add(h, x)
        y = MatMul(s, v)
      }`;
    expect(findActivationSites(linear.graph)).toEqual([]);
  });
});

describe('thresholds on contributions', () => {
  it('leave out more than thresholds on magnitudes at the same error', async () => {
    for (const activation of ['Relu', 'Silu'] as const) {
      const net = gated(activation, true);
      expect(await sparsityAt(net, 0.1)).toBeGreaterThan((await sparsityAt(net, 0.1, byMagnitude)) + 0.05);
    }
  });

  it('come to the same where all neurons count alike', async () => {
    const net = gated('Relu', false);
    expect(await sparsityAt(net, 0.1)).toBeCloseTo(await sparsityAt(net, 0.1, byMagnitude), 1);
  });

  it('leave out more the more error is allowed', async () => {
    const net = gated('Silu', true);
    const shares = [await sparsityAt(net, 0.05), await sparsityAt(net, 0.1), await sparsityAt(net, 0.3)];
    expect(shares).toEqual([...shares].sort((a, b) => a - b));
    expect(shares[2]).toBeGreaterThan((shares[0] ?? 1) + 0.1);
  });
});

describe('sparsifyActivations', () => {
  const run = (net: Model, target: string): ReturnType<typeof sparsifyActivations> =>
    sparsifyActivations(net, 'y', parseSparsityTarget(target), { fit, heldOut }, ctx);
  let relu: Awaited<ReturnType<typeof run>>;
  let silu: Awaited<ReturnType<typeof run>>;
  beforeAll(async () => {
    relu = await run(gated('Relu', true), 'cett=0.2');
    silu = await run(gated('Silu', true), 'cett=0.2');
  });

  it('counts the zeros of ReLU, and finds none behind SiLU', () => {
    expect(relu.sites[0]?.zeros).toBeGreaterThan(0.4);
    expect(silu.sites[0]?.zeros).toBe(0);
    expect(relu.sites[0]?.sparsity.fit).toBeGreaterThan((silu.sites[0]?.sparsity.fit ?? 1) + 0.05);
  });

  it('holds on samples it has not seen', () => {
    for (const [site] of [relu.sites, silu.sites]) {
      expect(site?.cett.heldOut).toBeCloseTo(0.2, 1);
      expect(site?.sparsity.heldOut).toBeCloseTo(site?.sparsity.fit ?? NaN, 1);
    }
  });

  it('writes what it measured', async () => {
    const net = gated('Silu', true);
    const sparse = withThresholds(
      net,
      silu.found,
      silu.sites.map((s) => s.threshold),
    );
    const outputs = async (m: Model, b: Batch): Promise<Float32Array> => {
      const session = await openSession(m, { threads: 1 });
      const y = toFloat32((await session.run(b.inputs)).get('y')!);
      await session.release();
      return y;
    };
    const ratios: number[] = [];
    for (const batch of fit) {
      const [dense, left] = [await outputs(net, batch), await outputs(sparse, batch)];
      for (let at = 0; at < dense.length; at += WIDTH) {
        const row = dense.subarray(at, at + WIDTH);
        ratios.push(Math.hypot(...row.map((v, i) => v - (left[at + i] ?? NaN))) / Math.hypot(...row));
      }
    }
    const mean = ratios.reduce((sum, r) => sum + r, 0) / ratios.length;
    expect(mean).toBeCloseTo(silu.sites[0]?.cett.fit ?? NaN, 3);
  });

  it('reaches a rise of the perplexity within two percent of what was asked', async () => {
    const { loss, sites } = await run(gated('Silu', true), 'ppl=1%');
    expect(loss.kind).toBe('kl');
    expect(loss.fit).toBeLessThanOrEqual(Math.log(1.01));
    expect(loss.fit).toBeGreaterThan(0.95 * Math.log(1.01));
    expect(sites[0]?.sparsity.fit).toBeGreaterThan(0.05);
  });

  it('gives the same thresholds again', async () => {
    const again = await run(gated('Silu', true), 'cett=0.2');
    expect(again.sites).toEqual(silu.sites);
  });
});

it.each(['', 'cett=0', 'cett=2', 'kl=1', 'ppl=0%'])("refuses '%s'", (text) => {
  expect(() => parseSparsityTarget(text)).toThrow(/no target of activation sparsity/);
});
