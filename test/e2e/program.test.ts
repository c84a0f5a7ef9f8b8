/** The built program: what only a process of its own can show. Each run costs about a second, so there are few. */
import { existsSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { createRng } from '../../src/core/index.js';
import { writeModel } from '../../src/onnx/index.js';
import { tensor, writeNpy } from '../../src/tensor/index.js';
import { temporaryFolder } from '../helpers/folder.js';
import { floatModel } from '../report/models.js';
import { fxq, type Run, type RunOptions } from './fxq.js';

const cwd = temporaryFolder();
const at = (name: string): string => join(cwd, name);
const run = (line: string, options: Partial<RunOptions> = {}): Promise<Run> =>
  fxq(line.split(' '), { cwd, ...options });

beforeAll(() => {
  writeModel(floatModel(), at('model.onnx'));
  const rng = createRng(1);
  writeFileSync(
    at('x.npy'),
    writeNpy(
      tensor(
        'float32',
        [64, 8],
        Float32Array.from({ length: 512 }, () => rng.normal()),
      ),
    ),
  );
});

describe('help', () => {
  it('lists the commands, and the examples of each', async () => {
    const [all, one] = await Promise.all([run('--help'), run('quantize --help')]);
    expect([all.exit, one.exit]).toEqual([0, 0]);
    for (const command of ['calibrate', 'merge', 'quantize', 'report', 'search', 'synthesize'])
      expect(all.stdout).toMatch(`  ${command} `);
    expect(one.stdout).toMatch(/EXAMPLES[\s\S]+\$ fxq quantize model\.onnx --data/);
  });

  it.each([[''], [' --json']])('suggests the command that was meant%s', async (json) => {
    const { exit, stdout, stderr } = await run(`quantise model.onnx${json}`);
    expect(exit).toBe(2);
    if (json === '')
      expect([stdout, stderr]).toEqual([
        '',
        expect.stringMatching(/^error: there is no command 'quantise'[\s\S]*'quantize'/),
      ]);
    else expect([JSON.parse(stdout).error.suggestions[0], stderr]).toEqual(["Did you mean 'quantize'?", '']);
  });
});

describe('calibrate, quantize, report', () => {
  beforeAll(async () => {
    const calibrated = await run('calibrate model.onnx --data x.npy --rows 0:32');
    const quantized = await run('quantize model.onnx --calibration model.fxq --out model.int8.onnx');
    expect([calibrated.exit, quantized.exit, quantized.stderr]).toEqual([
      0,
      0,
      expect.not.stringMatching('error'),
    ]);
  });

  it('leaves the same bytes when run again, with another number of threads', async () => {
    const files = ['model.fxq', 'model.int8.onnx', 'model.int8.fxq.json'];
    const first = files.map((name) => readFileSync(at(name)));
    await run('calibrate model.onnx --data x.npy --rows 0:32 --threads 2');
    await run('quantize model.onnx --calibration model.fxq --out model.int8.onnx --threads 2');
    files.forEach((name, i) => expect(readFileSync(at(name)).equals(first[i]!), name).toBe(true));
  });

  it('prints one JSON object and nothing else, and exits with 1 for a failed gate', async () => {
    const line =
      'report model.onnx model.int8.onnx --data x.npy --rows 32:64 --latency 2 --json --gate sqnr>=200';
    const [failed, waived] = await Promise.all([run(line), run(`${line} --no-fail`)]);
    expect([failed.exit, failed.stderr, waived.exit]).toEqual([1, '', 0]);
    expect(JSON.parse(failed.stdout)).toMatchObject({
      schemaVersion: 1,
      passed: false,
      data: { samples: 32 },
    });
  });

  it('writes every reporter to its file, colours only on demand, and annotates on GitHub', async () => {
    writeFileSync(at('summary.md'), 'before\n');
    const reporters = ['text', 'html=r.html', 'junit=r.xml', 'json=r.json']
      .map((r) => `--reporter ${r}`)
      .join(' ');
    const line = `report model.onnx model.int8.onnx --data x.npy --latency 0 --gate sqnr>=200 ${reporters}`;
    const plain = await run(line, { env: { GITHUB_ACTIONS: 'true', GITHUB_STEP_SUMMARY: at('summary.md') } });
    expect(plain.exit).toBe(1);
    expect(plain.stdout).toMatch(/^ {2}FAIL {2}sqnr>=200/m);
    expect(plain.stdout).not.toContain('::error');
    expect(plain.stderr).toMatch(/^::error file=model\.int8\.onnx,title=fxq sqnr>=200::/m);
    expect(plain.stdout).not.toContain('\u001b');
    expect(plain.stderr).toMatch(/^Comparing outputs …$/m);
    expect(readFileSync(at('summary.md'), 'utf8')).toMatch(/^before\n# model\\?\.onnx → /);
    expect(['r.html', 'r.xml', 'r.json'].map((name) => existsSync(at(name)))).toEqual([true, true, true]);
    const coloured = await run(line, { env: { FORCE_COLOR: '1' } });
    expect(coloured.stdout).toContain('\u001b[31m');
    expect(coloured.stdout).not.toContain('::error');
  });
});

describe('signals', () => {
  it.each([
    ['SIGINT', 130],
    ['SIGTERM', 143],
  ] as const)('%s stops with status %d and leaves nothing half written', async (signal, status) => {
    const before = readdirSync(cwd).sort();
    let sent = false;
    const { exit, stderr } = await run(
      'calibrate model.onnx --random --samples 50000000 --out interrupted.fxq',
      {
        onStderr: (text, child) => {
          if (sent || !text.includes('Calibrating')) return;
          sent = true;
          child.kill(signal);
        },
      },
    );
    expect([exit, sent]).toEqual([status, true]);
    expect(stderr).toMatch(/interrupted/);
    expect(readdirSync(cwd).sort()).toEqual(before);
  });
});
