#!/usr/bin/env node
// `npm run demo`: from a trained float model to int8 and a report, on the models and data in fixtures/.
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { main } from '../dist/cli/main.js';

const root = fileURLToPath(new URL('..', import.meta.url));
const out = join(root, 'demo-output');
const data = join(root, 'fixtures/fashion-mnist');

const MODELS = [
  { name: 'fashion-cnn', file: 'fashion-cnn/cnn.onnx' },
  { name: 'fashion-vit', file: 'fashion-vit/vit.onnx' },
];

async function fxq(...args) {
  const shown = args.map((arg) => arg.replace(root, ''));
  console.log(`\n$ fxq ${shown.map((arg) => (/[\s<>]/.test(arg) ? `'${arg}'` : arg)).join(' ')}\n`);
  await main(args, import.meta.url);
  if (process.exitCode) process.exit();
}

mkdirSync(out, { recursive: true });
for (const { name, file } of MODELS) {
  const model = join(root, 'fixtures', file);
  const statistics = join(out, `${name}.fxq`);
  const quantized = join(out, `${name}.int8.onnx`);
  await fxq('calibrate', model, '--data', join(data, 'calibration.npz'), '--out', statistics);
  await fxq('quantize', model, '--calibration', statistics, '--preset', 'int8', '--out', quantized);
  await fxq(
    'report',
    model,
    quantized,
    '--data',
    join(data, 'test.npz'),
    '--labels',
    join(data, 'test-labels.npy'),
    '--gate',
    'top1.drop <= 0.5',
    '--reporter',
    'text',
    '--reporter',
    `html=${join(out, `${name}.html`)}`,
  );
}
console.log(`\nThe models and reports with charts are in demo-output/.`);
