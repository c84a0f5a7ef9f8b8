/** `fxq synthesize` as a command: its result, and that what is made from it says so. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, expect, it } from 'vitest';
import Quantize from '../../src/commands/quantize.js';
import Report from '../../src/commands/report.js';
import Synthesize from '../../src/commands/synthesize.js';
import { writeModel } from '../../src/onnx/index.js';
import { temporaryFolder } from '../helpers/folder.js';
import { model } from '../helpers/model.js';
import { runCommand } from './run-command.js';

const folder = temporaryFolder();
const at = (name: string): string => join(folder, name);

beforeAll(() => {
  const net = model`
    opset 17
    (float32[N,2,H,W] x) => (float32[N,4,?,?] y) {
      w: float32[4,2,3,3] = random(scale=0.3)
      s: float32[4] = full(value=1)
      b: float32[4] = full(value=0)
      m: float32[4] = {1, -1, 2, 0}
      v: float32[4] = {1, 2, 3, 4}
      c = [conv] Conv<pads=[1, 1, 1, 1]>(x, w)
      n = [norm] BatchNormalization(c, s, b, m, v)
      y = Relu(n)
    }`;
  writeModel(net, at('model.onnx'));
});

it('makes data that every command takes and names', async () => {
  const flags = [
    '--sizes',
    'x=6x8',
    '--steps',
    '40',
    '--samples',
    '8',
    '--batch',
    '8',
    '--learning-rate',
    '0.3',
  ];
  const made = await runCommand(Synthesize, at('model.onnx'), ...flags, '--json');
  expect(made.exit, made.stdout).toBe(0);
  const result = JSON.parse(made.stdout) as Record<string, unknown>;
  expect(result).toMatchObject({ out: at('model.synthetic.npz'), samples: 8, layers: 1, notes: [] });
  expect(result.inputs).toMatchObject({ x: { dims: [8, 2, 6, 8] } });

  const data = ['--data', at('model.synthetic.npz')];
  const quantized = await runCommand(Quantize, at('model.onnx'), ...data, '--out', at('q.onnx'), '--json');
  expect(JSON.parse(quantized.stdout)).toMatchObject({ synthetic: true });
  const report = await runCommand(Report, at('model.onnx'), at('q.onnx'), ...data, '--latency', '0');
  expect(report.stdout).toContain('8 samples of model.synthetic.npz (synthetic data:');
});

it('wants mean and deviation of the inputs together', async () => {
  const { exit, stdout } = await runCommand(Synthesize, at('model.onnx'), '--input-mean', '0', '--json');
  expect([exit, stdout]).toEqual([2, expect.stringContaining('belong together')]);
});

it.each([
  ['--sizes', 'x:6', '--sizes x:6 gives no sizes'],
  ['--learning-rate', 'fast', 'rate'],
])('refuses %s %s', async (flag, value, message) => {
  const { exit, stdout } = await runCommand(
    Synthesize,
    ...[at('model.onnx'), '--out', at('no.npz'), flag, value, '--json'],
  );
  expect([exit, stdout, existsSync(at('no.npz'))]).toEqual([2, expect.stringContaining(message), false]);
});
