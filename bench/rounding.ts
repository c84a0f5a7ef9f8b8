/**
 * Low-bit weights by solver, on rows that solvers never saw. Usage: npm run bench -- rounding FOLDER [model …]
 * [--family int] [--bits 4,3,2] [--solvers nearest,gptq,descent] [--efforts balanced] [--activations float] [--seeds 0]
 * [--block '{"drop":0}'] [--verbose]; prints a table, with --verbose also what learning each block bought.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { createContext } from '../src/core/index.js';
import { quantize } from '../src/pipeline/index.js';
import { type BlockOptions, type Effort, type LayerReport } from '../src/solve/index.js';
import { MODELS, modelsFolder, type BenchModel } from './models.js';
import { quantizeRequest } from './request.js';
import { score } from './scores.js';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    family: { type: 'string', default: 'int' },
    bits: { type: 'string', default: '4,3,2' },
    solvers: { type: 'string', default: 'nearest,gptq,descent' },
    efforts: { type: 'string', default: 'balanced' },
    activations: { type: 'string', default: 'float' },
    seeds: { type: 'string', default: '0' },
    block: { type: 'string', default: '{}' },
    verbose: { type: 'boolean', default: false },
  },
});
const list = (text: string): string[] => text.split(',');
const folder = modelsFolder();
const wanted = positionals.slice(1);
const DEFAULT_MODELS = ['cifar-resnet20', 'cifar-resnet56'];

/** Learned rounding is fitted to the first 512 CIFAR images and measured on the others. */
function withMoreRows(model: BenchModel): BenchModel {
  if (!model.name.startsWith('cifar-')) return model;
  return {
    ...model,
    calibration: { ...model.calibration, rows: [0, 512] },
    test: { ...model.test, rows: [512, 2000] },
  };
}

/** Errors of every block's output: nearest, start, learned. */
function showBlocks(layers: readonly LayerReport[]): void {
  for (const block of new Set(layers.flatMap((l) => l.block ?? []))) {
    const stages = [block.error.fit, block.error.heldOut]
      .flatMap((e) => (e === undefined ? [] : [[e.nearest, e.start, e.learned]]))
      .map((stage) => stage.map((v) => v.toExponential(2)).join(' → '));
    const moved = `${(100 * block.moved).toFixed(1)} % moved`;
    console.error(`${block.name}: ${stages.join(' | ')}, ${moved}${block.adopted ? '' : ', start kept'}`);
  }
}

const temporary = mkdtempSync(join(tmpdir(), 'fxq-bench-'));
console.log('| model | weights | activations | solver | effort | metric by seed | float | seconds |');
console.log('| --- | --- | --- | --- | --- | --- | --- | --- |');
for (const model of MODELS.filter((m) =>
  (wanted.length === 0 ? DEFAULT_MODELS : wanted).includes(m.name),
).map(withMoreRows)) {
  const [float] = await score(folder, model, join(folder, model.model));
  for (const bits of list(values.bits)) {
    for (const solver of list(values.solvers)) {
      for (const effort of solver === 'nearest' || solver === 'gptq' ? ['balanced'] : list(values.efforts)) {
        const results: number[] = [];
        const start = performance.now();
        for (const seed of list(values.seeds)) {
          const out = join(temporary, 'model.onnx');
          const request = quantizeRequest(folder, model, out, {
            solving: { effort: effort as Effort, block: JSON.parse(values.block) as Partial<BlockOptions> },
            plan: { weights: `${values.family}${bits}`, activations: values.activations, solver },
          });
          const { layers } = await quantize(request, createContext({ seed: Number(seed) }));
          if (values.verbose) showBlocks(layers);
          results.push((await score(folder, model, out))[0]?.value ?? NaN);
        }
        const seconds = ((performance.now() - start) / 1000 / results.length).toFixed(1);
        const figures = results.map((v) => v.toFixed(2)).join(', ');
        console.log(
          `| ${model.name} | ${values.family}${bits} | ${values.activations} | ${solver} | ${effort} | ${float?.metric} ${figures} | ${float?.value.toFixed(2)} | ${seconds} |`,
        );
      }
    }
  }
}
rmSync(temporary, { recursive: true, force: true });
