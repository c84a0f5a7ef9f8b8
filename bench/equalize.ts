/**
 * Transforms before and after rounding to nearest, ranges by minmax: cross-layer equalization and bias correction with one
 * scale a weight, bias correction with one a channel, smoothing. Rows to measure on are never calibrated on. Usage:
 * npm run bench -- equalize FOLDER [model …] [--bits 8,6,5,4]; prints the tables of docs/results.md.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { createContext } from '../src/core/index.js';
import { quantize } from '../src/pipeline/index.js';
import { MODELS, modelsFolder, type BenchModel } from './models.js';
import { quantizeRequest, type Changes } from './request.js';
import { score, type Score } from './scores.js';
import { decimalsOf } from './spread.js';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { bits: { type: 'string', default: '8,6,5,4' } },
});
const folder = modelsFolder();
const wanted = positionals.slice(1);
const temporary = mkdtempSync(join(tmpdir(), 'fxq-bench-'));

const equalize = (...steps: ('cross-layer' | 'smooth')[]): Changes => ({
  equalize: { steps, alpha: 'auto', insert: false },
});
const inserting: Changes = { equalize: { steps: ['smooth'], alpha: 'auto', insert: true } };

const shown = (score: Score | undefined): string => (score?.value ?? NaN).toFixed(decimalsOf(score?.metric));

async function figure(model: BenchModel, changes: Changes): Promise<string> {
  const out = join(temporary, 'model.onnx');
  const fixed: Changes = { ranges: { method: 'minmax' }, weightRange: 'range' };
  await quantize(quantizeRequest(folder, model, out, { ...fixed, ...changes }), createContext());
  return shown((await score(folder, model, out))[0]);
}

async function table(
  names: readonly string[],
  bits: readonly string[],
  plan: NonNullable<Changes['plan']>,
  columns: Readonly<Record<string, Changes>>,
): Promise<void> {
  const titles = ['model', 'weights', ...Object.keys(columns), 'float'];
  console.log(`\n| ${titles.join(' | ')} |\n| ${titles.map(() => '---').join(' | ')} |`);
  for (const model of MODELS.filter((m) => (wanted.length === 0 ? names : wanted).includes(m.name))) {
    const [float] = await score(folder, model, join(folder, model.model));
    for (const b of bits) {
      const cells: string[] = [];
      for (const changes of Object.values(columns))
        cells.push(
          await figure(model, { ...changes, plan: { ...plan, weights: `int${b}`, solver: 'nearest' } }),
        );
      console.log(`| ${model.name} | int${b} | ${cells.join(' | ')} | ${shown(float)} |`);
    }
  }
}

const bits = values.bits.split(',');
const convolutional = ['vww-mobilenet', 'kws-dscnn'];
await table(
  convolutional,
  bits,
  { granularity: 'tensor' },
  {
    nearest: {},
    'cross-layer': equalize('cross-layer'),
    'bias corrected': { biasCorrection: 'empirical' },
    both: { ...equalize('cross-layer'), biasCorrection: 'empirical' },
  },
);
await table(
  convolutional,
  ['4'],
  { granularity: 'channel' },
  { nearest: {}, analytic: { biasCorrection: 'analytic' }, empirical: { biasCorrection: 'empirical' } },
);
await table(
  ['fashion-vit', 'tiny-llama', 'bank-bert'],
  ['8'],
  { granularity: 'channel' },
  { nearest: {}, smooth: equalize('smooth'), 'smooth, multiplications put in': inserting },
);
rmSync(temporary, { recursive: true, force: true });
