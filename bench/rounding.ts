/**
 * Low-bit weights by solver, on rows that solvers never saw. Usage: npm run bench -- rounding FOLDER [model …]
 * [--family int] [--bits 4,3,2] [--granularity channel] [--activations float,uint8] [--solvers nearest,gptq,descent]
 * [--efforts fast,balanced] [--seeds 3] [--importance] [--equalize smooth] [--wide 'node or /expression/'] [--method auto];
 * prints a table, with the bytes of all initializers. Weights are FAMILY followed by bits (`--family vector --bits 8d4`);
 * nodes named by --wide keep int8. Each seed draws seven eighths of the calibration rows, and the positions that Gram
 * matrices take.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { createContext } from '../src/core/index.js';
import { openDataSet } from '../src/data/index.js';
import { feedInputs, readModel } from '../src/onnx/index.js';
import { quantize, type QuantizeRequest } from '../src/pipeline/index.js';
import { type GranularitySetting } from '../src/plan/index.js';
import { type EqualizeRequest } from '../src/rewrite/index.js';
import { type Effort } from '../src/solve/index.js';
import { inFolder, MODELS, modelsFolder, type BenchModel } from './models.js';
import { quantizeRequest } from './request.js';
import { score } from './scores.js';
import { decimalsOf, spread } from './spread.js';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    bits: { type: 'string' },
    family: { type: 'string', default: 'int' },
    granularity: { type: 'string', default: 'channel' },
    activations: { type: 'string' },
    solvers: { type: 'string', default: 'nearest,gptq,descent' },
    efforts: { type: 'string', default: 'fast,balanced' },
    seeds: { type: 'string', default: '3' },
    threads: { type: 'string', default: '0' },
    importance: { type: 'boolean', default: false },
    equalize: { type: 'string' },
    wide: { type: 'string' },
    method: { type: 'string', default: 'auto' },
  },
});
const folder = modelsFolder();
const wanted = positionals.slice(1);
const seeds = Array.from({ length: Number(values.seeds) }, (_, i) => i);

/** What the project measures where the command line does not say. */
const EVERYTHING = { bits: ['4', '3', '2'], activations: ['float', 'uint8'] };
const W4A8 = { bits: ['4'], activations: ['uint8'] };
const SUBJECTS: Readonly<Record<string, { bits: string[]; activations: string[] }>> = {
  'cifar-resnet20': EVERYTHING,
  'cifar-resnet56': EVERYTHING,
  'vww-mobilenet': W4A8,
  'kws-dscnn': W4A8,
  'fashion-vit': W4A8,
  'bank-bert': W4A8,
  'tiny-llama': W4A8,
};

function list(text: string | undefined): string[] | undefined {
  return text?.split(',');
}

const steps = list(values.equalize) as EqualizeRequest['steps'] | undefined;
const wideNodes = values.wide === undefined ? [] : [{ match: { node: values.wide }, weights: 'int8' }];

/** Learned rounding is fitted to the first 512 CIFAR images and measured on the others. */
function withMoreRows(model: BenchModel): BenchModel {
  if (!model.name.startsWith('cifar-')) return model;
  return {
    ...model,
    calibration: { ...model.calibration, rows: [0, 512] },
    test: { ...model.test, rows: [512, 2000] },
  };
}

/** The model with a part of its calibration rows, which the seed of the run draws. */
function withDrawnRows(model: BenchModel, available: number): BenchModel {
  return { ...model, calibration: { ...model.calibration, samples: Math.floor((available * 7) / 8) } };
}

const temporary = mkdtempSync(join(tmpdir(), 'fxq-bench-'));

async function row(model: BenchModel, setting: Setting): Promise<string> {
  const [float] = await score(folder, model, join(folder, model.model));
  const available = await calibrationRows(model);
  const { bits, activations, solver, effort } = setting;
  const results: number[] = [];
  let bytes = 0;
  const start = performance.now();
  for (const seed of seeds) {
    const out = join(temporary, 'model.onnx');
    const request = quantizeRequest(folder, withDrawnRows(model, available), out, {
      solving: { effort: effort as Effort, importance: values.importance },
      plan: {
        weights: `${values.family}${bits}`,
        granularity: granularityOf(values.granularity),
        activations,
        solver,
        nodes: wideNodes,
      },
      ranges: { method: values.method as QuantizeRequest['ranges']['method'] },
      ...(steps === undefined ? {} : { equalize: { steps, alpha: 'auto', insert: false } }),
    });
    bytes = (await quantize(request, createContext({ seed, threads: Number(values.threads) }))).bytes
      .quantized;
    results.push((await score(folder, model, out))[0]?.value ?? NaN);
  }
  const seconds = ((performance.now() - start) / 1000 / results.length).toFixed(1);
  const cells = [
    model.name,
    `${values.family}${bits}`,
    activations,
    solver === 'nearest' ? solver : `${solver}, ${effort}`,
    float?.metric,
    spread(results, decimalsOf(float?.metric)),
    float?.value.toFixed(decimalsOf(float.metric)),
    (bytes / 1000).toFixed(1),
    seconds,
  ];
  return `| ${cells.join(' | ')} |`;
}

/** `tensor`, `channel` or `block:N`. */
function granularityOf(name: string): GranularitySetting {
  const block = /^block:(\d+)$/.exec(name)?.[1];
  return block === undefined ? (name as 'tensor' | 'channel') : { block: Number(block) };
}

interface Setting {
  readonly bits: string;
  readonly activations: string;
  readonly solver: string;
  readonly effort: string;
}

async function calibrationRows(model: BenchModel): Promise<number> {
  const inputs = feedInputs(readModel(join(folder, model.model)).graph);
  return (await openDataSet(inFolder(folder, model.calibration), inputs, createContext())).samples;
}

/** Every combination to run for a model. */
function settingsOf(name: string): Setting[] {
  const subject = SUBJECTS[name] ?? EVERYTHING;
  const settings: Setting[] = [];
  for (const activations of list(values.activations) ?? subject.activations)
    for (const bits of list(values.bits) ?? subject.bits) {
      // With quantized activations, 4 bits are what is aimed at; narrower weights are shown alone.
      if (activations !== 'float' && bits !== '4' && values.bits === undefined) continue;
      for (const solver of values.solvers.split(','))
        for (const effort of solver === 'nearest' ? ['balanced'] : values.efforts.split(','))
          settings.push({ bits, activations, solver, effort });
    }
  return settings;
}

console.log(
  '| model | weights | activations | solver | metric | mean (least to most) | float | kB | seconds |',
);
console.log('| --- | --- | --- | --- | --- | --- | --- | --- | --- |');
for (const model of MODELS.filter((m) =>
  wanted.length === 0 ? m.name in SUBJECTS : wanted.includes(m.name),
))
  for (const setting of settingsOf(model.name)) console.log(await row(withMoreRows(model), setting));
rmSync(temporary, { recursive: true, force: true });
