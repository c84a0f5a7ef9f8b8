#!/usr/bin/env node
// `npm run demo`: from a trained float model to int8 and a report, on the models and data in fixtures/.
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { main } from '../dist/cli/main.js';

const root = fileURLToPath(new URL('..', import.meta.url));
const out = join(root, 'demo-output');

const MODELS = [
  { name: 'fashion-cnn', file: 'fashion-cnn/cnn.onnx' },
  { name: 'fashion-vit', file: 'fashion-vit/vit.onnx' },
];

async function fxq(...args) {
  console.log(`\n$ fxq ${args.map((arg) => (/[\s<>]/.test(arg) ? `'${arg}'` : arg)).join(' ')}\n`);
  await main(args, import.meta.url);
  if (process.exitCode) process.exit();
}

mkdirSync(out, { recursive: true });
process.chdir(root);
const config = ['--config', 'fixtures/fashion-mnist/fxq.config.yaml'];
for (const { name, file } of MODELS) {
  const model = join('fixtures', file);
  const statistics = join('demo-output', `${name}.fxq`);
  const quantized = join('demo-output', `${name}.int8.onnx`);
  await fxq('calibrate', model, ...config, '--out', statistics);
  await fxq(
    'quantize',
    model,
    ...config,
    '--calibration',
    statistics,
    '--preset',
    'int8',
    '--out',
    quantized,
  );
  const html = `html=${join('demo-output', `${name}.html`)}`;
  await fxq('report', model, quantized, ...config, '--reporter', 'text', '--reporter', html);
}
console.log(`\nThe models and reports with charts are in demo-output/.`);
