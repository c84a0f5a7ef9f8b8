/**
 * Data made from batch normalizations against real data and noise. Usage: npm run bench -- synthesize FOLDER [model …]
 * [--seeds 3] [--samples 64] [--steps 400] [--threads 1] [--columns int8,nearest,descent,block] [--sources real,known,…];
 * prints a table. fashion-cnn is the fixture of this repository. Ranges are compared, value by value, with those of 64
 * other real samples: mean of |width / real width − 1|, inputs left out. Scores are on rows that nothing else sees.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { chooseRange, collect, type RangeMethod, type Statistics } from '../src/calibrate/index.js';
import { createContext, required, type Context } from '../src/core/index.js';
import { openDataSet, type DataSpec, type InputSpec } from '../src/data/index.js';
import { parseFormat } from '../src/formats/index.js';
import { feedInputs } from '../src/onnx/index.js';
import { loadModel, quantize, synthesize, valuesOfAnyPlan, type LoadedModel } from '../src/pipeline/index.js';
import { LEAST_OPSET } from '../src/pipeline/load-model.js';
import { MODELS, inFolder, modelsFolder, type BenchModel } from './models.js';
import { quantizeRequest, type Changes } from './request.js';
import { score } from './scores.js';
import { spread } from './spread.js';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    seeds: { type: 'string', default: '3' },
    samples: { type: 'string', default: '64' },
    steps: { type: 'string', default: '400' },
    threads: { type: 'string', default: '0' },
    columns: { type: 'string', default: 'int8,nearest,descent,block' },
    sources: { type: 'string', default: 'real,made,known,noise' },
  },
});
const models = modelsFolder();
const samples = Number(values.samples);
const temporary = mkdtempSync(join(tmpdir(), 'fxq-bench-'));
const contextOf = (seed: number): Context => createContext({ seed, threads: Number(values.threads) });

interface Subject {
  readonly folder: string;
  readonly model: BenchModel;
  /** Sizes that the model leaves open. */
  readonly inputs?: Readonly<Record<string, InputSpec>>;
  /** Preprocessing brings inputs to mean 0 and deviation 1. */
  readonly standard: boolean;
}

const FASHION = { scale: 1 / 255, mean: 0.286, std: 0.353 };
const FIXTURE: BenchModel = {
  name: 'fashion-cnn',
  model: 'fashion-cnn/cnn.onnx',
  calibration: { path: 'fashion-mnist/calibration.npz', preprocess: FASHION },
  test: { path: 'fashion-mnist/test.npz', preprocess: FASHION },
  labels: 'fashion-mnist/test-labels.npy',
};

/** Models whose batch normalizations were not folded when they were exported. */
const SUBJECTS: readonly Subject[] = [
  { folder: fileURLToPath(new URL('../../fixtures', import.meta.url)), model: FIXTURE, standard: true },
  { ...subject('cifar-resnet20'), standard: true },
  { ...subject('cifar-resnet56'), standard: true },
  { ...subject('kws-dscnn'), standard: false },
  { ...subject('ppocr-rec'), standard: false, inputs: { x: { sizes: [320] } } },
];

function subject(name: string): Pick<Subject, 'folder' | 'model'> {
  return {
    folder: models,
    model: required(
      MODELS.find((m) => m.name === name),
      name,
    ),
  };
}

/** Where data come from; each seed gives others. */
const SOURCES: Readonly<Record<string, (s: Subject, seed: number) => Promise<DataSpec>>> = {
  real: async ({ folder, model }) => ({ ...inFolder(folder, model.calibration), samples }),
  made: (s, seed) => make(s, seed, {}),
  known: (s, seed) => make(s, seed, { known: { mean: 0, std: 1 } }),
  noise: async ({ inputs }) => ({ kind: 'random', samples, ...(inputs === undefined ? {} : { inputs }) }),
};

async function make(
  { folder, model, inputs = {} }: Subject,
  seed: number,
  known: { known?: { mean: number; std: number } },
): Promise<DataSpec> {
  const out = join(temporary, `${model.name}.npz`);
  const start = performance.now();
  const { losses } = await synthesize(
    {
      model: join(folder, model.model),
      out,
      samples,
      batch: 32,
      steps: Number(values.steps),
      rate: 0.2,
      inputs,
      ...known,
    },
    contextOf(seed),
  );
  const seconds = ((performance.now() - start) / 1000).toFixed(0);
  const text = losses.map(({ start, end }) => `${start.toPrecision(2)} → ${end.toPrecision(2)}`).join(', ');
  console.error(`${model.name}, seed ${seed}: error of statistics ${text}, ${seconds} s`);
  return { path: out };
}

const COLUMNS: Readonly<Record<string, Changes>> = {
  int8: {},
  nearest: w4('nearest'),
  descent: w4('descent'),
  block: { ...w4('block'), solving: { effort: 'fast' } },
};

function w4(solver: string): Changes {
  return { plan: { weights: 'int4', activations: 'uint8', solver } };
}

const FORMAT = parseFormat('uint8');

/** Mean over values of how far the widths of ranges are from real ones, in percent. */
function rangeError(real: Statistics, other: Statistics, method: RangeMethod, inputs: Set<string>): number {
  const width = (of: Statistics, name: string): number => {
    const tensor = required(of.tensors.get(name), name);
    const { low, high } = chooseRange(
      tensor,
      { method, percentile: 99.9 },
      { format: FORMAT, symmetric: false },
    );
    return high - low;
  };
  const names = [...real.tensors.keys()].filter((name) => !inputs.has(name) && width(real, name) > 0);
  const each = names.map((name) => Math.abs(width(other, name) / width(real, name) - 1));
  return (100 * each.reduce((sum, d) => sum + d, 0)) / each.length;
}

async function observe({ model }: LoadedModel, names: string[], spec: DataSpec, seed: number) {
  const ctx = contextOf(seed);
  return collect(model, await openDataSet(spec, feedInputs(model.graph), ctx), names, ctx);
}

async function rows(s: Subject): Promise<void> {
  const { folder, model } = s;
  const float = join(folder, model.model);
  const [before] = await score(folder, model, float);
  const loaded = await loadModel(float, LEAST_OPSET, contextOf(0));
  const names = valuesOfAnyPlan(loaded);
  const inputs = new Set(feedInputs(loaded.model.graph).map((i) => i.name));
  const reference = { ...inFolder(folder, model.calibration), samples };
  const real = await observe(loaded, names, reference, 100);
  const columns = values.columns.split(',');
  for (const source of values.sources.split(',')) {
    if (source === 'known' && !s.standard) continue;
    const errors: { percentile: number; minmax: number }[] = [];
    const scores: number[][] = columns.map(() => []);
    for (let seed = 0; seed < Number(values.seeds); seed++) {
      const spec = await required(SOURCES[source], source)(s, seed);
      const seen = await observe(loaded, names, spec, seed);
      errors.push({
        percentile: rangeError(real, seen, 'percentile', inputs),
        minmax: rangeError(real, seen, 'minmax', inputs),
      });
      for (const [i, column] of columns.entries()) {
        const out = join(temporary, `${model.name}.${column}.onnx`);
        const changes = required(COLUMNS[column], column);
        const statistics = { kind: 'data', spec } as const;
        await quantize(quantizeRequest(folder, model, out, { ...changes, statistics }), contextOf(seed));
        const [after] = await score(folder, model, out);
        scores[i]?.push(required(after, 'a score').value);
      }
    }
    const cells = [
      `${model.name} (${before?.metric} ${before?.value.toFixed(2)})`,
      source,
      spread(
        errors.map((e) => e.percentile),
        1,
      ),
      spread(
        errors.map((e) => e.minmax),
        1,
      ),
      ...scores.map((figures) => spread(figures)),
    ];
    console.log(`| ${cells.join(' | ')} |`);
  }
}

const wanted = positionals.slice(1);
const head = ['model', 'data', 'ranges, 99.9 %', 'ranges, minmax', ...values.columns.split(',')];
console.log(`| ${head.join(' | ')} |`);
console.log(`| ${head.map(() => '---').join(' | ')} |`);
for (const s of SUBJECTS) if (wanted.length === 0 || wanted.includes(s.model.name)) await rows(s);
rmSync(temporary, { recursive: true, force: true });
