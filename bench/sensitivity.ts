/**
 * What sensitivities cost and how far they agree with the measured one: forward passes over the same samples, counted in
 * multiplications, and seconds. Usage: npm run bench -- sensitivity FOLDER [model …] [--samples 64]; prints the table of
 * docs/results.md. Candidates are rounded before the clock runs: all methods share them.
 */
import { parseArgs } from 'node:util';
import { createContext, required } from '../src/core/index.js';
import { openSearch } from '../src/pipeline/index.js';
import { DEFAULT_SETTINGS } from '../src/plan/index.js';
import {
  DEFAULT_AXES,
  HARDWARE,
  SENSITIVITIES,
  outputsOf,
  rankAgreement,
  splitHalfReliability,
  summarizeRanks,
  type RankAgreement,
  type Sensitivity,
  type SensitivityName,
  type Study,
} from '../src/search/index.js';
import { MODELS, inFolder, modelsFolder } from './models.js';
import { join } from 'node:path';

const MODELS_COMPARED = ['cifar-resnet20', 'cifar-resnet56', 'vww-mobilenet', 'fashion-vit'];
const WEIGHTS = ['int8', 'int4', 'int3', 'int2'];

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { samples: { type: 'string', default: '64' } },
});
const folder = modelsFolder();
const named = positionals.slice(1);
const ctx = createContext();

console.log(
  '| model | layers | candidates | method | forward passes | limit | seconds | of one forward pass | rank correlation: layers | overall | reliability: layers | overall |',
);
console.log(`| ${Array.from({ length: 12 }, () => '---').join(' | ')} |`);
for (const name of named.length === 0 ? MODELS_COMPARED : named) {
  const study = await open(name);
  const forward = await seconds(() => outputsOf(study.model, study.batches, study.output, ctx));
  let reference: Sensitivity | undefined;
  for (const method of Object.keys(SENSITIVITIES) as SensitivityName[]) {
    const found: Sensitivity[] = [];
    const time = await seconds(async () => found.push(await SENSITIVITIES[method](study, ctx)));
    const sensitivity = required(found[0], method);
    reference ??= sensitivity;
    const limit = method === 'measured' ? 0.6 * study.groups.length * WEIGHTS.length : 10;
    const agreement = method === 'measured' ? undefined : rankAgreement(reference, sensitivity);
    const cells = [
      name,
      study.groups.length,
      WEIGHTS.length,
      method,
      sensitivity.work.toFixed(1),
      limit.toFixed(0),
      time.toFixed(2),
      `${(time / forward).toFixed(1)}×`,
      ...ranks(agreement),
      ...ranks(splitHalfReliability(sensitivity)),
    ];
    console.log(`| ${cells.join(' | ')} |`);
  }
}

async function open(name: string): Promise<Study> {
  const model = required(
    MODELS.find((m) => m.name === name),
    name,
  );
  const { study } = await openSearch(
    {
      model: join(folder, model.model),
      data: inFolder(folder, model.calibration),
      plan: { ...DEFAULT_SETTINGS, activations: 'float' },
      ranges: { method: 'minmax' },
      weightRange: 'mse',
      axes: { ...DEFAULT_AXES, weights: WEIGHTS, activations: ['float'] },
      hardware: HARDWARE.generic,
      budgets: [],
      samples: Number(values.samples),
    },
    ctx,
  );
  for (const { layers, candidates } of study.groups)
    for (const layer of layers) for (const candidate of candidates) await study.realize(layer, candidate);
  return study;
}

async function seconds(work: () => Promise<unknown>): Promise<number> {
  const start = performance.now();
  await work();
  return (performance.now() - start) / 1000;
}

function ranks(agreement: RankAgreement | undefined): string[] {
  if (agreement === undefined) return ['', ''];
  const { layers, overall } = summarizeRanks(agreement);
  return [layers?.toFixed(3) ?? '', overall.toFixed(3)];
}
