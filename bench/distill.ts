/**
 * What distillation recovers, with features weighted by residual, alike, or not at all: loss on held-out calibration rows,
 * and on test rows the divergence from the float model and the task metric.
 * Usage: npm run bench -- distill FOLDER [model …] [--weights int4] [--sparsity 2:4,dense] [--features residual,uniform,none]
 *        [--seeds 0] [--steps N] [--rate X] [--batch N] [--solver auto] [--cache FOLDER]; prints the table of docs/results.md.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { report, quantize, type QuantizeRequest } from '../src/pipeline/index.js';
import { createContext } from '../src/core/index.js';
import { type FeatureWeights } from '../src/solve/index.js';
import { inFolder, MODELS, modelsFolder } from './models.js';
import { quantizeRequest } from './request.js';
import { score } from './scores.js';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    weights: { type: 'string', default: 'int4' },
    sparsity: { type: 'string', default: '2:4' },
    features: { type: 'string', default: 'residual,uniform,none' },
    seeds: { type: 'string', default: '0' },
    solver: { type: 'string', default: 'auto' },
    method: { type: 'string', default: 'joint' },
    steps: { type: 'string' },
    rate: { type: 'string' },
    batch: { type: 'string' },
    cache: { type: 'string' },
  },
});
const folder = modelsFolder();
const wanted = positionals.slice(1);
const list = (text: string): string[] => text.split(',');
const temporary = mkdtempSync(join(tmpdir(), 'fxq-bench-'));

/** KL divergence of class scores from the float model's on test rows, and the task metric. */
async function onTestRows(
  model: (typeof MODELS)[number],
  path: string,
): Promise<{ kl: number; metric: string }> {
  const { outputs } = await report(
    {
      float: join(folder, model.model),
      quantized: path,
      data: inFolder(folder, model.test),
      metrics: [],
      layers: 0,
      latency: 0,
      tensors: [],
      gates: [],
    },
    createContext({ threads: 1 }),
  );
  const [metric] = await score(folder, model, path);
  return { kl: outputs[0]?.kl ?? NaN, metric: metric?.value.toFixed(2) ?? '' };
}

console.log(
  '| model | weights | pattern | seed | features | held-out loss | best step | KL, test rows | metric, test rows |',
);
console.log('| --- | --- | --- | --- | --- | --- | --- | --- | --- |');
for (const model of MODELS.filter((m) =>
  (wanted.length === 0 ? ['cifar-resnet20', 'cifar-resnet56', 'fashion-vit'] : wanted).includes(m.name),
))
  for (const weights of list(values.weights))
    for (const pattern of list(values.sparsity))
      for (const seed of list(values.seeds)) {
        const run = async (distill?: QuantizeRequest['solving']['distill']) => {
          const out = join(temporary, 'model.onnx');
          const { distilled } = await quantize(
            quantizeRequest(folder, model, out, {
              solving: {
                effort: 'balanced',
                cache: values.cache ?? join(temporary, 'cache'),
                ...(pattern === 'dense' ? {} : { sparsity: { pattern, method: values.method } }),
                ...(distill === undefined ? {} : { distill }),
              },
              plan: { weights, solver: values.solver },
            }),
            createContext({ seed: Number(seed), threads: 1 }),
          );
          return { distilled, ...(await onTestRows(model, out)) };
        };
        const number = (name: 'steps' | 'rate' | 'batch'): Record<string, number> =>
          values[name] === undefined ? {} : { [name]: Number(values[name]) };
        const before = await run();
        const row = (features: string, loss: string, step: string, kl: string, metric: string): void =>
          console.log(
            `| ${[model.name, weights, pattern, seed, features, loss, step, kl, metric].join(' | ')} |`,
          );
        row('–', '', '', before.kl.toFixed(4), before.metric);
        for (const features of list(values.features) as FeatureWeights[]) {
          const { distilled, kl, metric } = await run({
            features,
            ...number('steps'),
            ...number('rate'),
            ...number('batch'),
          });
          if (distilled === undefined) continue;
          const { output, bestStep, steps } = distilled;
          const loss = `${output.before.toFixed(4)} → ${output.after.toFixed(4)}`;
          row(features, loss, `${bestStep} of ${steps}`, kl.toFixed(4), metric);
        }
      }
rmSync(temporary, { recursive: true, force: true });
