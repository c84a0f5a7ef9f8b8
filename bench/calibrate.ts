/**
 * What calibration costs: its wall time over that of running the same samples through the model as it is, in one
 * process, and its peak memory for 100 and for 1,000 samples. Usage: npm run bench -- calibrate FOLDER [model …];
 * prints the tables of docs/calibration.md. Runs are interleaved, and the fastest of each kind counts.
 */
import { spawnSync } from 'node:child_process';
import { availableParallelism } from 'node:os';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { collect } from '../src/calibrate/index.js';
import { createContext } from '../src/core/index.js';
import { openDataSet, type DataSet, type DataSpec } from '../src/data/index.js';
import { createRunner, openSession } from '../src/engine/index.js';
import { feedInputs, type Model } from '../src/onnx/index.js';
import { LEAST_OPSET, loadModel } from '../src/pipeline/load-model.js';
import { DEFAULT_SETTINGS, planQuantization, valuesToCalibrate } from '../src/plan/index.js';
import { MODELS, inFolder, modelsFolder, type BenchModel } from './models.js';

const MOST_SAMPLES = 1000;

/** Every weighted layer is quantized at run time, so nothing is calibrated. */
const NOTHING_OBSERVED = new Set(['silero-vad-if']);

const REPETITIONS = 5;
const threads = availableParallelism();
const ctx = createContext({ threads });

interface Subject {
  readonly file: string;
  readonly model: Model;
  readonly values: readonly string[];
  readonly data: DataSet;
}

/** The model as `fxq quantize --preset int8` calibrates it, and up to `samples` rows of its calibration file. */
async function subject(folder: string, bench: BenchModel, samples = MOST_SAMPLES): Promise<Subject> {
  const file = join(folder, bench.model);
  const { model, types } = await loadModel(file, LEAST_OPSET, ctx);
  const values = valuesToCalibrate(planQuantization(model, types, DEFAULT_SETTINGS));
  const { rows: _, ...spec }: DataSpec = inFolder(folder, bench.calibration);
  const inputs = feedInputs(model.graph);
  const { sourceRows } = await openDataSet(spec, inputs, ctx);
  const data = await openDataSet({ ...spec, rows: [0, Math.min(sourceRows, samples)] }, inputs, ctx);
  return { file, model, values, data };
}

/** Runs the file as it is: session, reading, inference, outputs fetched. */
async function runBare({ file, data }: Subject, batch: number): Promise<void> {
  const session = await openSession(file, { threads });
  const runner = createRunner(session, data.carry);
  const outputs = session.outputs.map((o) => o.name);
  for await (const { inputs } of data.batches(batch)) await runner.run(inputs, outputs);
  await session.release();
}

async function runCalibration({ model, data, values }: Subject): Promise<void> {
  await collect(model, data, values, ctx);
}

async function time(work: () => Promise<void>): Promise<number> {
  const start = performance.now();
  await work();
  return performance.now() - start;
}

const BATCHES = [1, 4, 16];

async function row(folder: string, bench: BenchModel): Promise<string> {
  const it = await subject(folder, bench);
  const kinds = [...BATCHES.map((batch) => () => runBare(it, batch)), () => runCalibration(it)];
  const best = kinds.map(() => Infinity);
  for (let i = 0; i < REPETITIONS; i++)
    for (const [k, work] of kinds.entries()) best[k] = Math.min(best[k] ?? Infinity, await time(work));
  const calibration = best.pop() ?? NaN;
  const bare = Math.min(...best);
  const each = best.map((ms) => ms.toFixed(0)).join(' / ');
  const cells = [bench.name, it.values.length, it.data.samples, each, calibration.toFixed(0)];
  return `| ${[...cells, (calibration / bare).toFixed(2), (calibration / (best[0] ?? NaN)).toFixed(2)].join(' | ')} |`;
}

/** Peak resident memory of a process of its own, in MB. */
function peakMemory(folder: string, name: string, samples: number): number {
  const args = [...process.execArgv, fileURLToPath(import.meta.url), folder, name, String(samples)];
  const { stdout } = spawnSync(process.execPath, args, { env: { ...process.env, FXQ_BENCH: 'memory' } });
  return Number(stdout);
}

async function printMemory(folder: string, name = '', samples = ''): Promise<void> {
  const bench = MODELS.find((m) => m.name === name);
  if (bench === undefined) return;
  await runCalibration(await subject(folder, bench, Number(samples)));
  // Not maxRSS, which Linux carries over from the process that started this one.
  const peak = /^VmHWM:\s*(\d+) kB/m.exec(readFileSync('/proc/self/status', 'utf8'))?.[1];
  console.log(Number(peak) / 1024);
}

async function main(): Promise<void> {
  const folder = modelsFolder();
  const [, , , ...names] = process.argv;
  if (process.env.FXQ_BENCH === 'memory') return printMemory(folder, ...names);
  const chosen = MODELS.filter((m) => !NOTHING_OBSERVED.has(m.name)).filter(
    (m) => names.length === 0 || names.includes(m.name),
  );
  console.log(
    `| model | values | samples | bare, batch ${BATCHES.join(' / ')}, ms | calibration, ms | ratio | to batch 1 |`,
  );
  console.log('|---|---|---|---|---|---|---|');
  for (const bench of chosen) console.log(await row(folder, bench));
  console.log('\n| model | peak memory, 100 samples, MB | 1,000 samples |\n|---|---|---|');
  for (const { name } of chosen) {
    const [few, many] = [100, 1000].map((n) => peakMemory(folder, name, n).toFixed(0));
    console.log(`| ${name} | ${few} | ${many} |`);
  }
}

await main();
