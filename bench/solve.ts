/**
 * What solving costs: wall time of `--effort fast`, moments of the layers' inputs included, over that of running the float
 * model on the same samples, in one process; and the rates of its two parts beside the runtime's own rate of matrix
 * products. Usage: npm run bench -- solve FOLDER [model] [--samples 512] [--efforts fast] [--weights int4]
 * [--repetitions 5]. Runs are interleaved, and the fastest of each kind counts.
 */
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { createContext, required } from '../src/core/index.js';
import { openDataSet, type DataSet } from '../src/data/index.js';
import { createRunner, openSession } from '../src/engine/index.js';
import { feedInputs, graph, model as modelOf, node, value, type Model } from '../src/onnx/index.js';
import { LEAST_OPSET, loadModel } from '../src/pipeline/load-model.js';
import { solveLayers } from '../src/pipeline/solve-layers.js';
import { DEFAULT_SETTINGS, planQuantization, type Plan } from '../src/plan/index.js';
import {
  collectMoments,
  FAST_MOMENTS,
  findWeightedLayers,
  matrixSize,
  roundToNearest,
  solvableLayers,
  withBiases,
  type Effort,
} from '../src/solve/index.js';
import { tensor } from '../src/tensor/index.js';
import { MODELS, inFolder, modelsFolder } from './models.js';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    samples: { type: 'string', default: '512' },
    efforts: { type: 'string', default: 'fast' },
    weights: { type: 'string', default: 'int4' },
    repetitions: { type: 'string', default: '5' },
  },
});
const BATCHES = [4, 16, 64];

/** Milliseconds of the parts of a run, by the titles of its progress. */
const parts = new Map<string, number>();
const ctx = createContext({
  start: (title) => {
    const begin = performance.now();
    return {
      update: () => undefined,
      finish: () => void parts.set(title.replace(/ of \d+ layers/, ''), performance.now() - begin),
    };
  },
});

async function time(work: () => Promise<void>): Promise<number> {
  const start = performance.now();
  await work();
  return performance.now() - start;
}

/** Session, reading, inference, outputs fetched. */
async function runBare(file: string, data: DataSet, batch: number): Promise<void> {
  const session = await openSession(file);
  const runner = createRunner(session, data.carry);
  const outputs = session.outputs.map((o) => o.name);
  for await (const { inputs } of data.batches(batch)) await runner.run(inputs, outputs);
  await session.release();
}

/** GFLOP/s of one large product of float32 matrices, the fastest of several. */
async function productRate(size = 1024): Promise<number> {
  const dims = [size, size];
  const session = await openSession(
    modelOf(
      graph({
        inputs: [value('a', 'float32', dims), value('b', 'float32', dims)],
        outputs: [value('y', 'float32', dims)],
        nodes: [node('MatMul', ['a', 'b'], ['y'])],
      }),
    ),
  );
  const matrix = tensor('float32', dims, new Float32Array(size * size).fill(0.5));
  let best = Infinity;
  for (let i = 0; i < 10; i++)
    best = Math.min(best, await time(async () => void (await session.run({ a: matrix, b: matrix }))));
  await session.release();
  return (2 * size ** 3) / best / 1e6;
}

/**
 * Floating-point operations that rounding all layers once takes in closed form, without sweeps that follow: a triangular
 * factor (n³/3), successive rounding (rows · n²), and the products that start and measure it (8 of 2 · rows · n²).
 */
function roundingWork(model: Model, plan: Plan): number {
  return findWeightedLayers(model.graph)
    .filter((l) => l.weight in plan.weights)
    .map(({ layout }) => {
      const { rows, cols } = matrixSize(layout);
      return (layout.groups * cols ** 3) / 3 + 17 * rows * cols ** 2;
    })
    .reduce((sum, flops) => sum + flops, 0);
}

/** Floating-point operations of all Gram matrices of the fast effort, 2 · rows · n² each; shared ones count once. */
async function gramWork(model: Model, plan: Plan, data: DataSet): Promise<number> {
  const layers = solvableLayers(model.graph, plan, () => true);
  const found = await collectMoments(model, layers, data, ctx, FAST_MOMENTS);
  const work = new Map(
    [...found].map(([{ layout }, moments]) => {
      const count = moments.fit.count + (moments.heldOut?.count ?? 0);
      return [moments.fit, 2 * layout.groups * count * matrixSize(layout).cols ** 2] as const;
    }),
  );
  return [...work.values()].reduce((sum, flops) => sum + flops, 0);
}

const folder = modelsFolder();
const name = positionals[1] ?? 'cifar-resnet56';
const bench = required(
  MODELS.find((m) => m.name === name),
  `model ${name}`,
);
const file = join(folder, bench.model);
const loaded = await loadModel(file, LEAST_OPSET, ctx);
const model = withBiases(loaded.model, findWeightedLayers(loaded.model.graph));
const plan = planQuantization(model, loaded.types, {
  ...DEFAULT_SETTINGS,
  weights: values.weights,
  activations: 'float',
  solver: 'descent',
});
const nearest = roundToNearest(model.graph, plan, 'mse');
const spec = inFolder(folder, { ...bench.calibration, rows: [0, Number(values.samples)] });
const data = await openDataSet(spec, feedInputs(model.graph), ctx);

const rate = await productRate();
console.log(
  `${name}, ${data.samples} samples, ${values.weights} weights; matrix products ${rate.toFixed(0)} GFLOP/s`,
);
for (const effort of values.efforts.split(',') as Effort[]) {
  let [bare, solve] = [Infinity, Infinity];
  let best = new Map<string, number>();
  for (let i = 0; i < Number(values.repetitions); i++) {
    for (const batch of BATCHES) bare = Math.min(bare, await time(() => runBare(file, data, batch)));
    parts.clear();
    const taken = await time(
      async () => void (await solveLayers(model, plan, nearest, spec, { effort }, ctx)),
    );
    if (taken < solve) best = new Map(parts);
    solve = Math.min(solve, taken);
  }
  console.log(
    `${effort}: bare ${bare.toFixed(0)} ms, solve ${solve.toFixed(0)} ms, ratio ${(solve / bare).toFixed(2)}`,
  );
  for (const [part, ms] of best) console.log(`  ${part}: ${ms.toFixed(0)} ms`);
  const [measuring, rounding] = [best.get('Measuring inputs'), best.get('Rounding layers')];
  if (measuring === undefined || rounding === undefined) continue;
  const rates = [(await gramWork(model, plan, data)) / measuring, roundingWork(model, plan) / rounding];
  const [gram, codes] = rates.map((r) => (r / 1e6).toFixed(1));
  console.log(
    `  Gram matrices, the model's own work not counted: ${gram} GFLOP/s; rounding: ${codes} GFLOP/s`,
  );
}
