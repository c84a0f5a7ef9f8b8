/** Vector formats from the command line: a configuration, a search that may choose them, and the report. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, expect, it } from 'vitest';
import Quantize from '../../src/commands/quantize.js';
import Report from '../../src/commands/report.js';
import Search from '../../src/commands/search.js';
import { createRng } from '../../src/core/index.js';
import { writeModel } from '../../src/onnx/index.js';
import { tensor, writeNpz } from '../../src/tensor/index.js';
import { temporaryFolder } from '../helpers/folder.js';
import { model } from '../helpers/model.js';
import { runCommand } from './run-command.js';

const folder = temporaryFolder();
const at = (name: string): string => join(folder, name);

beforeAll(() => {
  const net = model`
    opset 17
    (float32[N,8,6,6] x) => (float32[N,16] y) {
      w: float32[64,8,3,3] = random(scale=0.2, seed=1)
      m: float32[64,16] = random(scale=0.2, seed=2)
      c = [conv] Conv<pads=[1, 1, 1, 1]>(x, w)
      r = Relu(c)
      g = GlobalAveragePool(r)
      f = Flatten(g)
      y = [head] Gemm(f, m)
    }`;
  writeModel(net, at('model.onnx'));
  const rng = createRng(1);
  const [size, samples] = [288, 96];
  // Neighbours of one channel are alike, so inputs are not white.
  const x = new Float32Array(samples * size);
  for (let i = 0; i < x.length; i++) x[i] = rng.normal() + (i % 36 === 0 ? 0 : 0.9 * (x[i - 1] ?? 0));
  writeFileSync(at('train.npz'), writeNpz(new Map([['x', tensor('float32', [samples, 8, 6, 6], x)]])));
});

async function quantized(name: string, ...flags: string[]): Promise<number> {
  const out = at(`${name}.onnx`);
  const more = ['--activations', 'float', '--data', at('train.npz'), '--out', out, '--json', ...flags];
  const made = await runCommand(Quantize, at('model.onnx'), ...more);
  expect(made.exit, made.stdout).toBe(0);
  const report = await runCommand(Report, at('model.onnx'), out, '--data', at('train.npz'), '--json');
  expect(report.exit, report.stdout).toBe(0);
  const { outputs } = JSON.parse(report.stdout) as { outputs: { sqnr: number }[] };
  return outputs[0]!.sqnr;
}

it('gains on single levels of as many bits, and on nearest words', async () => {
  const [vectors, nearest, single] = [
    await quantized('vectors', '--weights', 'vector4d2'),
    await quantized('nearest', '--weights', 'vector4d2', '--solver', 'nearest'),
    await quantized('single', '--weights', 'codebook2'),
  ];
  expect(vectors).toBeGreaterThan(nearest + 1);
  expect(vectors).toBeGreaterThan(single + 0.2);
});

it('is a rule of the configuration', async () => {
  writeFileSync(
    at('fxq.yaml'),
    `quantize: { weights: int8, layers: [{ match: conv, weights: vector8d8, granularity: tensor }] }\n`,
  );
  await quantized('rule', '--config', at('fxq.yaml'));
  const report = await runCommand(
    Report,
    at('model.onnx'),
    at('rule.onnx'),
    '--data',
    at('train.npz'),
    '--json',
  );
  const { size } = JSON.parse(report.stdout) as {
    size: { layers: { node: string; opType: string; bytes: number }[] };
  };
  // 64 · 9 codes, 256 words of 8 bytes, one scale, and the shapes that put them in place.
  const { bytes } = size.layers.find(({ opType }) => opType === 'Conv')!;
  expect(bytes).toBeGreaterThanOrEqual(576 + 2048 + 4);
  expect(bytes).toBeLessThan(576 + 2048 + 4 + 64 + 256);
});

it('is a candidate of searches, by the bytes of codes, words and scales', async () => {
  const flags = ['--weights', 'int8,vector4d2', '--activations', 'float', '--budget', 'size=30%'];
  const out = at('pareto.json');
  const found = await runCommand(
    Search,
    at('model.onnx'),
    '--data',
    at('train.npz'),
    ...flags,
    '--out',
    out,
    '--json',
  );
  expect(found.exit, found.stdout).toBe(0);
  expect(found.stdout).toContain('vector4d2');
  const taken = await quantized('searched', '--from-pareto', `${out}:budget`);
  expect(taken).toBeGreaterThan(5);
});
