/** What solving costs: work in progress. */
import { join } from 'node:path';
import { createContext } from '../src/core/index.js';
import { openDataSet } from '../src/data/index.js';
import { createRunner, openSession } from '../src/engine/index.js';
import { feedInputs } from '../src/onnx/index.js';
import { LEAST_OPSET, loadModel } from '../src/pipeline/load-model.js';
import { DEFAULT_SETTINGS, planQuantization } from '../src/plan/index.js';
import { findWeightedLayers, solvableLayers, solveWeights, withBiases } from '../src/solve/index.js';
import { MODELS, inFolder, modelsFolder } from './models.js';

const folder = modelsFolder();
let c0 = process.cpuUsage();
const cpu = (): string => {
  const u = process.cpuUsage(c0);
  c0 = process.cpuUsage();
  return `cpu ${((u.user + u.system) / 1000).toFixed(0)}`;
};
const bench = MODELS.find((m) => m.name === (process.argv[3] ?? 'cifar-resnet56'))!;
const effort = (process.argv[4] ?? 'fast') as 'fast';
const ctx = createContext({
  threads: Number(process.env.T ?? 0),
  start: (title) => {
    const t = performance.now();
    return {
      update: () => undefined,
      finish: () => console.log(title, (performance.now() - t).toFixed(0), cpu()),
    };
  },
});
const file = join(folder, bench.model);
const { model: read, types } = await loadModel(file, LEAST_OPSET, ctx);
const model = withBiases(read, findWeightedLayers(read.graph));
const plan = planQuantization(model, types, {
  ...DEFAULT_SETTINGS,
  weights: 'int4',
  activations: 'float',
  solver: 'descent',
});
const data = await openDataSet(
  inFolder(folder, { ...bench.calibration, rows: [0, Number(process.env.IMG ?? 512)] }),
  feedInputs(model.graph),
  ctx,
);
const layers = solvableLayers(model.graph, plan, () => true);
for (let i = 0; i < Number(process.env.N ?? 2); i++) {
  for (const batch of [16, 64]) {
    const t0 = performance.now();
    const session = await openSession(file, { threads: Number(process.env.T ?? 0) });
    const runner = createRunner(session, data.carry);
    for await (const { inputs } of data.batches(batch))
      await runner.run(
        inputs,
        session.outputs.map((o) => o.name),
      );
    await session.release();
    console.log('bare', batch, (performance.now() - t0).toFixed(0), cpu());
  }
  const t1 = performance.now();
  await solveWeights(model, model, plan, layers, () => 'descent', data, { effort }, ctx);
  console.log('solve', layers.length, (performance.now() - t1).toFixed(0));
}
