/**
 * Thresholds on activations alone, weights and all else float: what is left out and what the task metric loses.
 * Usage: npm run bench -- activation-sparsity FOLDER [model …] [--targets ppl=1%,cett=0.1,cett=0.2]; prints a table.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { createContext } from '../src/core/index.js';
import { quantize } from '../src/pipeline/index.js';
import { parseSparsityTarget } from '../src/solve/index.js';
import { MODELS, modelsFolder } from './models.js';
import { quantizeRequest } from './request.js';
import { score } from './scores.js';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { targets: { type: 'string', default: 'ppl=1%,cett=0.1,cett=0.2' } },
});
const folder = modelsFolder();
const wanted = positionals.slice(1);
const DEFAULT_MODELS = ['cifar-resnet20', 'fashion-vit', 'bank-bert', 'tiny-llama'];

const percent = (x: number): string => `${(100 * x).toFixed(1)} %`;
const mean = (xs: readonly number[]): number => xs.reduce((a, b) => a + b, 0) / xs.length;

const temporary = mkdtempSync(join(tmpdir(), 'fxq-bench-'));
console.log(
  '| model | behind | target | layers | zeros | left out, held out | MACs, predicted | KL held out | metric | float |',
);
console.log('| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |');
for (const model of MODELS.filter((m) => (wanted.length === 0 ? DEFAULT_MODELS : wanted).includes(m.name))) {
  const [float] = await score(folder, model, join(folder, model.model));
  for (const target of values.targets.split(',')) {
    const out = join(temporary, 'model.onnx');
    const request = quantizeRequest(folder, model, out, {
      activationSparsity: parseSparsityTarget(target),
      plan: { weights: 'float', activations: 'float' },
    });
    const { activations } = await quantize(request, createContext({ seed: 0 }));
    if (activations === undefined) continue;
    const [after] = await score(folder, model, out);
    const { sites, loss, predictedSavedMacs: saved } = activations;
    const cells = [
      model.name,
      [...new Set(sites.map((s) => s.activation))].join(', '),
      target,
      sites.length,
      percent(mean(sites.map((s) => s.zeros))),
      percent(mean(sites.map((s) => s.sparsity.heldOut ?? NaN))),
      `${percent(saved.zeros)} → ${percent(saved.sparse)}`,
      loss.heldOut?.toPrecision(2),
      `${after?.metric} ${after?.value.toFixed(2)}`,
      float?.value.toFixed(2),
    ];
    console.log(`| ${cells.join(' | ')} |`);
  }
}
rmSync(temporary, { recursive: true });
