/**
 * The main job on real models: `int8` with default settings, the task metric on rows that calibration never saw, size,
 * latency and kernels. Usage: npm run bench -- int8 FOLDER [model …]; prints the table of docs/results.md.
 */
import { mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createContext } from '../src/core/index.js';
import { openDataSet } from '../src/data/index.js';
import { openSession } from '../src/engine/index.js';
import { feedInputs, readModel } from '../src/onnx/index.js';
import { quantize, type QuantizeResult } from '../src/pipeline/index.js';
import { measureLatency } from '../src/report/index.js';
import { MODELS, inFolder, modelsFolder, type BenchModel } from './models.js';
import { quantizeRequest } from './request.js';
import { score, type Score } from './scores.js';

const ctx = createContext();

/** Loss in the score's unit; positive is worse. */
function loss(float: Score, quantized: Score): number {
  const worse = float.better === 'higher' ? float.value - quantized.value : quantized.value - float.value;
  return float.limit.unit === 'points' ? worse : (100 * worse) / float.value;
}

async function latency(folder: string, model: BenchModel, float: string, quantized: string): Promise<string> {
  const data = await openDataSet(
    inFolder(folder, model.calibration),
    feedInputs(readModel(float).graph),
    ctx,
  );
  for await (const { inputs } of data.batches(1)) {
    const [a, b] = [await openSession(float), await openSession(quantized)];
    const times = await measureLatency(a, b, inputs, { runs: 31, clock: () => performance.now() }, ctx);
    await Promise.all([a.release(), b.release()]);
    return `${times.float.median.toFixed(2)} → ${times.quantized.median.toFixed(2)} ms (${(times.float.median / times.quantized.median).toFixed(2)}×)`;
  }
  return '';
}

async function row(folder: string, model: BenchModel, temporary: string): Promise<string[]> {
  const float = join(folder, model.model);
  const out = join(temporary, `${model.name}.onnx`);
  const result = await quantize(quantizeRequest(folder, model, out), ctx);
  const [before, after] = [await score(folder, model, float), await score(folder, model, out)];
  const size = (path: string): number => statSync(path).size / 1024;
  return before.map((a, i) => {
    const b = after[i] ?? a;
    const lost = loss(a, b);
    const verdict = lost <= a.limit.by ? 'ok' : '**over**';
    const head =
      i === 0 ? [`${size(float).toFixed(0)} → ${size(out).toFixed(0)} kB`, kernels(result)] : ['', ''];
    return `| ${model.name} | ${a.metric} | ${a.value.toFixed(3)} | ${b.value.toFixed(3)} | ${lost.toFixed(2)} ${a.limit.unit} | ${verdict} | ${head.join(' | ')} |`;
  });
}

function kernels({ audit }: QuantizeResult): string {
  return `${audit.integer} of ${audit.nodes.length}`;
}

const folder = modelsFolder();
const wanted = process.argv.slice(3);
const temporary = mkdtempSync(join(tmpdir(), 'fxq-bench-'));
console.log('| model | metric | float | int8 | loss | | size | integer kernels | latency, batch 1 |');
console.log('| --- | --- | --- | --- | --- | --- | --- | --- | --- |');
for (const model of MODELS.filter((m) => wanted.length === 0 || wanted.includes(m.name))) {
  const lines = await row(folder, model, temporary);
  const time = await latency(folder, model, join(folder, model.model), join(temporary, `${model.name}.onnx`));
  lines.forEach((line, i) => console.log(`${line} ${i === 0 ? time : ''} |`));
}
rmSync(temporary, { recursive: true, force: true });
