/** Every command of docs/methods.md is run on a small network, and every test that it names exists. */
import type { Command } from '@oclif/core';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import Quantize from '../../src/commands/quantize.js';
import Search from '../../src/commands/search.js';
import Synthesize from '../../src/commands/synthesize.js';
import { createRng } from '../../src/core/index.js';
import { openSession } from '../../src/engine/index.js';
import { writeModel } from '../../src/onnx/index.js';
import { tensor, writeNpz } from '../../src/tensor/index.js';
import { temporaryFolder } from '../helpers/folder.js';
import { model } from '../helpers/model.js';
import { runCommand } from './run-command.js';

const folder = temporaryFolder();
const at = (name: string): string => join(folder, name);
const PAGE = readFileSync('docs/methods.md', 'utf8');
const COMMANDS = [...PAGE.matchAll(/`fxq ((?:quantize|search|synthesize) model\.onnx[^`]*)`/g)].map(
  (m) => m[1] ?? '',
);

beforeAll(() => {
  const net = model`
    opset 17
    (float32[N,4,6,6] x) => (float32[N,4] y) {
      w1: float32[8,4,3,3] = random(scale=0.2)
      s1: float32[8] = random(low=0.5, high=1.5)
      b1: float32[8] = random(scale=0.1)
      m1: float32[8] = random(scale=0.1)
      v1: float32[8] = random(low=0.5, high=2)
      w2: float32[8,8,3,3] = random(scale=0.15)
      b2: float32[8] = random(scale=0.1)
      w3: float32[8,4] = random(scale=0.4)
      b3: float32[4] = random(scale=0.1)
      c1 = [first] Conv<pads=[1, 1, 1, 1]>(x, w1)
      n1 = BatchNormalization(c1, s1, b1, m1, v1)
      r1 = Relu(n1)
      c2 = [second] Conv<pads=[1, 1, 1, 1]>(r1, w2, b2)
      r2 = Relu(c2)
      g = GlobalAveragePool(r2)
      f = Flatten(g)
      y = [head] Gemm(f, w3, b3)
    }`;
  writeModel(net, at('model.onnx'));
  const rng = createRng(1);
  const x = tensor(
    'float32',
    [20, 4, 6, 6],
    Float32Array.from({ length: 20 * 144 }, () => rng.normal()),
  );
  writeFileSync(at('train.npz'), writeNpz(new Map([['x', x]])));
});

const OUTPUT: Record<string, string> = { search: 'pareto.json', synthesize: 'made.npz' };
const RUN: Record<string, typeof Command> = { search: Search, synthesize: Synthesize };

describe('commands of docs/methods.md', () => {
  it('are as many as the taxonomy has rows', () => {
    expect(COMMANDS.length).toBeGreaterThan(30);
  });

  it.each(COMMANDS)('%s', async (command) => {
    const [name, ...words] = command.split(' ').filter((word) => word !== '');
    const out = at(OUTPUT[name ?? ''] ?? 'out.onnx');
    const args = words.map((word) => (/^(model\.onnx|train\.npz)$/.test(word) ? at(word) : word));
    const cache = name === 'synthesize' ? [] : ['--cache', at('cache')];
    const { stdout, exit } = await runCommand(RUN[name ?? ''] ?? Quantize, ...args, '--out', out, ...cache);
    expect(exit, stdout).toBe(0);
    expect(existsSync(out)).toBe(true);
    if (name !== 'quantize') return;
    const session = await openSession(out, { threads: 1 });
    const y = (await session.run({ x: tensor('float32', [1, 4, 6, 6]) })).get('y');
    await session.release();
    expect([...(y?.data as Float32Array)].every(Number.isFinite)).toBe(true);
  });
});

it('names tests that exist', () => {
  const named = [...PAGE.matchAll(/`(test\/[\w/.-]+\.ts)`/g)].map((m) => m[1] ?? '');
  expect(named.length).toBeGreaterThan(15);
  expect(named.filter((path) => !existsSync(path))).toEqual([]);
});
