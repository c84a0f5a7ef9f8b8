/**
 * Every rounding method on equal terms: the same layers, bits, scales a channel, moments of one pass and held-out samples.
 * Usage: npm run bench -- ablation FOLDER [model …] [--bits 8,4,3,2] [--threads 0]; prints a table per model.
 *
 * A cell holds the error of layer outputs on held-out samples relative to their energy (geometric mean over layers), and
 * the task metric with these weights in the float model. The last column is the negative control: on white inputs no error
 * can be made up for by another weight, so what a method saves there over least-squares nearest is what it owes to chance
 * and scales alone.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { createContext } from '../src/core/index.js';
import { openDataSet } from '../src/data/index.js';
import {
  feedInputs,
  GraphEditor,
  storeTensor,
  withGraph,
  writeModel,
  type Model,
} from '../src/onnx/index.js';
import { LEAST_OPSET, loadModel } from '../src/pipeline/load-model.js';
import { DEFAULT_SETTINGS, planQuantization } from '../src/plan/index.js';
import { biasInitializer, correctedBiases } from '../src/solve/bias.js';
import { nearest } from '../src/solve/nearest.js';
import { openMatrices } from '../src/solve/matrices.js';
import { openProducts } from '../src/solve/products.js';
import {
  collectMoments,
  descent,
  findWeightedLayers,
  gptq,
  planProblem,
  realWeight,
  solvableLayers,
  SOLVERS,
  withBiases,
  type LayerProblem,
  type PlannedProblem,
  type LayerSolution,
} from '../src/solve/index.js';
import { tensor } from '../src/tensor/index.js';
import { inFolder, MODELS, modelsFolder, type BenchModel } from './models.js';
import { score } from './scores.js';
const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    bits: { type: 'string', default: '8,4,3,2' },
    threads: { type: 'string', default: '0' },
  },
});
const folder = modelsFolder();
const ctx = createContext({ threads: Number(values.threads) });
const { product, release } = await openProducts(ctx.threads);
const matrices = await openMatrices(ctx.threads);
const runtime = { rng: ctx.rng, threads: ctx.threads, matrices };
type Method = (problem: LayerProblem) => Promise<LayerSolution>;

const learned =
  (name: 'adaround' | 'lowrank' | 'adaquant'): Method =>
  (problem) =>
    SOLVERS[name](problem, 'balanced', runtime, product);

/** Methods of one layer; another one is one line here. */
const METHODS: Readonly<Record<string, Method>> = {
  'nearest, largest weight': (p) => nearest(p, { scales: 'absmax' }, product),
  'nearest, least squares': (p) => nearest(p, {}, product),
  'nearest, scales by Gram': (p) => nearest(p, { scales: 'gram' }, product),
  'GPTQ, columns in order': (p) => gptq(p, { actOrder: false }, product, matrices),
  'GPTQ, energy first': (p) => gptq(p, {}, product, matrices),
  AdaRound: learned('adaround'),
  'low-rank': learned('lowrank'),
  AdaQuant: learned('adaquant'),
  'descent from nearest': (p) => descent(p, { starts: ['nearest'] }, product, matrices),
  'descent from GPTQ': (p) => descent(p, { starts: ['gptq'] }, product, matrices),
  'descent from both': (p) => descent(p, {}, product, matrices),
};
interface Subject {
  readonly bench: BenchModel;
  readonly model: Model;
  readonly problems: (bits: string) => readonly PlannedProblem[];
}

interface Answer {
  readonly planned: PlannedProblem;
  readonly solution: LayerSolution;
}

async function subject(bench: BenchModel): Promise<Subject> {
  const loaded = await loadModel(join(folder, bench.model), LEAST_OPSET, ctx);
  const model = withBiases(loaded.model, findWeightedLayers(loaded.model.graph));
  const planOf = (bits: string) =>
    planQuantization(model, loaded.types, {
      ...DEFAULT_SETTINGS,
      weights: `int${bits}`,
      activations: 'float',
      solver: 'descent',
    });
  const layers = solvableLayers(model.graph, planOf('4'), () => true);
  const data = await openDataSet(inFolder(folder, bench.calibration), feedInputs(model.graph), ctx);
  const moments = await collectMoments(model, layers, data, ctx);
  const editor = new GraphEditor(model.graph);
  const problems = (bits: string): readonly PlannedProblem[] => {
    const plan = planOf(bits);
    return layers.flatMap((layer) => {
      const [quantization, seen] = [plan.weights[layer.weight], moments.get(layer)];
      if (quantization === undefined || seen === undefined) return [];
      return planProblem(
        model.graph,
        layer,
        quantization,
        seen,
        biasInitializer(editor, layer) !== undefined,
      );
    });
  };
  return { bench, model, problems };
}

/** The model with the answers of all layers in float weights and biases. */
function withAnswers({ model }: Subject, answers: readonly Answer[]): Model {
  const { graph } = model;
  const editor = new GraphEditor(graph);
  const initializers = new Map(graph.initializers);
  for (const { planned, solution } of answers) {
    const { layer } = planned;
    initializers.set(
      layer.weight,
      storeTensor(tensor('float32', layer.layout.dims, realWeight(planned, solution))),
    );
    const bias = biasInitializer(editor, layer);
    if (bias === undefined || solution.biasCorrection === undefined) continue;
    for (const [name, t] of correctedBiases(graph, new Map([[bias, solution.biasCorrection]])))
      initializers.set(name, storeTensor(t));
  }
  return withGraph(model, { ...graph, initializers });
}

/** The same layer with inputs that tell nothing of each other. */
function whitened({ heldOut: _heldOut, ...problem }: LayerProblem): LayerProblem {
  const { cols, groups } = problem;
  const gram = Float64Array.from({ length: cols * cols }, (_, i) => Number(i % (cols + 1) === 0));
  const all = Array.from({ length: groups }, () => gram);
  return { ...problem, moments: { count: 1e6, gram: all, mean: all.map(() => new Float64Array(cols)) } };
}

const mean = (figures: readonly number[]): number =>
  Math.exp(figures.reduce((sum, v) => sum + Math.log(Math.max(v, 1e-12)), 0) / figures.length);

const temporary = mkdtempSync(join(tmpdir(), 'fxq-bench-'));

async function cell(it: Subject, bits: string, method: Method): Promise<string> {
  const answers: Answer[] = [];
  for (const planned of it.problems(bits)) answers.push({ planned, solution: await method(planned.problem) });
  const path = join(temporary, 'model.onnx');
  writeModel(withAnswers(it, answers), path);
  const [task] = await score(folder, it.bench, path);
  return `${mean(answers.map((a) => a.solution.error.heldOut ?? NaN)).toExponential(1)}, ${task?.value.toFixed(2)}`;
}

/** Error at 4 bits on white inputs, relative to that of least-squares nearest. */
async function control(it: Subject, method: Method): Promise<string> {
  const shares: number[] = [];
  for (const { problem } of it.problems('4')) {
    const { error } = await method(whitened(problem));
    shares.push(error.fit / error.nearest);
  }
  return mean(shares).toFixed(3);
}

/** ResNet is fitted to the first 512 images and measured on the others. */
function withMoreRows(bench: BenchModel): BenchModel {
  if (!bench.name.startsWith('cifar-')) return bench;
  const { calibration, test } = bench;
  return { ...bench, calibration: { ...calibration, rows: [0, 512] }, test: { ...test, rows: [512, 2000] } };
}

const wanted = positionals.slice(1);
const names = wanted.length === 0 ? ['cifar-resnet20', 'tiny-llama'] : wanted;
const bits = values.bits.split(',');
for (const bench of MODELS.filter((m) => names.includes(m.name)).map(withMoreRows)) {
  const it = await subject(bench);
  const [float] = await score(folder, bench, join(folder, bench.model));
  console.log(`\n${bench.name}: held-out error, ${float?.metric} (float ${float?.value.toFixed(2)})\n`);
  console.log(`| method | ${bits.map((b) => `int${b}`).join(' | ')} | white inputs |`);
  console.log(`|---|${bits.map(() => '---|').join('')}---|`);
  for (const [name, method] of Object.entries(METHODS)) {
    const cells: string[] = [];
    for (const b of bits) cells.push(await cell(it, b, method));
    console.log(`| ${name} | ${cells.join(' | ')} | ${await control(it, method)} |`);
  }
}
await release();
await matrices.release();
rmSync(temporary, { recursive: true, force: true });
