/**
 * Whether a limit on a metric holds on samples that chose nothing: the cheapest assignment within `--max-drop` on one half
 * of the test rows, judged on the other half. Usage: npm run bench -- max-drop FOLDER [model …] [--drops 0.5,1]; prints the
 * table of docs/results.md.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { FxqError, createContext, required } from '../src/core/index.js';
import { openDataSet, type DataSpec } from '../src/data/index.js';
import { feedInputs, readModel } from '../src/onnx/index.js';
import { quantize, search } from '../src/pipeline/index.js';
import { openMetricDrop } from '../src/pipeline/metric-drop.js';
import { DEFAULT_SETTINGS } from '../src/plan/index.js';
import { DEFAULT_AXES, HARDWARE, pointRules, type ParetoFile } from '../src/search/index.js';
import { MODELS, inFolder, modelsFolder, type BenchModel } from './models.js';
import { quantizeRequest } from './request.js';

const MODELS_SEARCHED = ['ic-resnet8', 'cifar-resnet20', 'vww-mobilenet', 'fashion-vit'];

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { drops: { type: 'string', default: '0.5,1' } },
});
const folder = modelsFolder();
const named = positionals.slice(1);
const temporary = mkdtempSync(join(tmpdir(), 'fxq-bench-'));
console.log('| model | allowed | lost on samples that chose | lost on others | size of int8 |');
console.log('| --- | --- | --- | --- | --- |');
for (const name of named.length === 0 ? MODELS_SEARCHED : named) {
  const model = required(
    MODELS.find((m) => m.name === name),
    name,
  );
  for (const max of values.drops.split(',').map(Number)) await row(model, max);
}
rmSync(temporary, { recursive: true, force: true });

async function row(model: BenchModel, max: number): Promise<void> {
  const [chosen, others] = await halves(model);
  const labels = join(folder, required(model.labels, 'labels'));
  const metric = { metric: 'top1', labels };
  const out = join(temporary, 'model.json');
  let file: ParetoFile;
  try {
    file = await search(
      {
        model: join(folder, model.model),
        out,
        data: inFolder(folder, model.calibration),
        plan: { ...DEFAULT_SETTINGS, solver: 'auto' },
        ranges: { method: 'minmax' },
        weightRange: 'mse',
        scales: { ranges: { method: 'auto' }, weightRange: 'auto' },
        axes: { ...DEFAULT_AXES, weights: ['int8', 'int6', 'int4', 'int3', 'int2'], solvers: ['auto'] },
        sensitivity: 'measured',
        hardware: HARDWARE.generic,
        budgets: [{ cost: 'bits', amount: { kind: 'share', share: 1, of: 'int8' } }],
        samples: 128,
        solving: { effort: 'balanced' },
        maxDrop: { max, ...metric, data: chosen },
      },
      createContext(),
    );
  } catch (error) {
    if (!(error instanceof FxqError) || error.code !== 'E_BUDGET') throw error;
    console.log(`| ${model.name} | ${max} | ${error.message} | | |`);
    return;
  }
  const point = required(
    file.points.find((p) => p.name === 'drop'),
    'the point within the drop',
  );
  const written = join(temporary, 'model.onnx');
  const nodes = pointRules(file, 'drop');
  await quantize(
    quantizeRequest(folder, model, written, { plan: { solver: 'auto', nodes } }),
    createContext(),
  );
  const judge = await openMetricDrop(
    { ...metric, max, data: others },
    readModel(join(folder, model.model)),
    createContext(),
  );
  const unseen = await judge(readModel(written));
  const cost = (100 * required(point.costs.bits, 'bits')) / required(file.references.int8.bits, 'bits');
  const text = ({ value, error }: { value: number; error: number }): string =>
    `${value.toFixed(2)} ± ${error.toFixed(2)}`;
  console.log(
    `| ${model.name} | ${max} | ${text(required(point.drop, 'a drop'))} | ${text(unseen)} | ${cost.toFixed(1)} % |`,
  );
}

/** Two halves of the test rows. */
async function halves(model: BenchModel): Promise<[DataSpec, DataSpec]> {
  const spec = inFolder(folder, model.test);
  const { graph } = readModel(join(folder, model.model));
  const { samples } = await openDataSet(spec, feedInputs(graph), createContext());
  const [from] = spec.rows ?? [0];
  const middle = from + Math.floor(samples / 2);
  return [
    { ...spec, rows: [from, middle] },
    { ...spec, rows: [middle, from + samples] },
  ];
}
