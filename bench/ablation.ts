/**
 * Every rounding method on equal terms: the same layers, bits, scales a channel, moments of one pass and held-out samples.
 * Usage: npm run bench -- ablation FOLDER [model …] [--bits 8,4,3,2] [--threads 0] [--methods 'regular expression'];
 * prints a table per model.
 *
 * A cell holds the error of layer outputs on held-out samples relative to their energy (geometric mean over layers), and
 * the task metric with these weights in the float model. The last column is the negative control: on white inputs no error
 * can be made up for by another weight, so what a method saves there over least-squares nearest is what it owes to chance
 * and scales alone. Blocks have none: they are learned on samples, not on moments.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { createContext, required } from '../src/core/index.js';
import { openDataSet, type DataSet } from '../src/data/index.js';
import {
  feedInputs,
  GraphEditor,
  loadTensor,
  storeTensor,
  withGraph,
  writeModel,
  type Model,
} from '../src/onnx/index.js';
import { LEAST_OPSET, loadModel } from '../src/pipeline/load-model.js';
import { GRADIENT_OPSET } from '../src/program/index.js';
import { DEFAULT_SETTINGS, planQuantization, type Plan, type SolvedWeight } from '../src/plan/index.js';
import { biasInitializer, correctedBiases } from '../src/solve/bias.js';
import { refineBlocks } from '../src/solve/block/refine.js';
import { relativeErrors } from '../src/solve/measure.js';
import { nearest } from '../src/solve/nearest.js';
import { openMatrices } from '../src/solve/matrices.js';
import { openProducts } from '../src/solve/products.js';
import {
  blockOptions,
  collectMoments,
  descent,
  findWeightedLayers,
  gptq,
  planProblem,
  realWeight,
  roundToNearest,
  solvableLayers,
  SOLVERS,
  toMatrix,
  toSolvedWeight,
  withBiases,
  withRoundedWeights,
  type LayerProblem,
  type LayerSolution,
  type PlannedProblem,
  type SolvedLayers,
} from '../src/solve/index.js';
import { tensor, toFloat32, type Tensor } from '../src/tensor/index.js';
import { inFolder, MODELS, modelsFolder, type BenchModel } from './models.js';
import { score } from './scores.js';
const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    bits: { type: 'string', default: '8,4,3,2' },
    threads: { type: 'string', default: '0' },
    methods: { type: 'string', default: '' },
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
  readonly data: DataSet;
  readonly planOf: (bits: string) => Plan;
  readonly problems: (bits: string) => readonly PlannedProblem[];
}

/** Weights and biases of a network, and the held-out error of every layer. */
interface Answer {
  readonly initializers: ReadonlyMap<string, Tensor>;
  readonly errors: readonly number[];
}

type NetworkMethod = (it: Subject, bits: string) => Promise<Answer>;

async function subject(bench: BenchModel): Promise<Subject> {
  const opset = Math.max(LEAST_OPSET, GRADIENT_OPSET);
  const loaded = await loadModel(join(folder, bench.model), opset, ctx);
  const model = withBiases(loaded.model, findWeightedLayers(loaded.model.graph));
  const planOf = (bits: string): Plan =>
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
  return { bench, model, data, planOf, problems };
}

/** What a method of one layer makes of all layers. */
const layerByLayer =
  (method: Method): NetworkMethod =>
  async ({ model, problems }, bits) => {
    const editor = new GraphEditor(model.graph);
    const initializers = new Map<string, Tensor>();
    const errors: number[] = [];
    for (const planned of problems(bits)) {
      const { layer, problem } = planned;
      const solution = await method(problem);
      errors.push(solution.error.heldOut ?? NaN);
      const values = realWeight(planned, solution);
      initializers.set(layer.weight, tensor('float32', layer.layout.dims, values));
      const bias = biasInitializer(editor, layer);
      if (bias === undefined || solution.biasCorrection === undefined) continue;
      const corrected = correctedBiases(model.graph, new Map([[bias, solution.biasCorrection]]));
      for (const [name, t] of corrected) initializers.set(name, t);
    }
    return { initializers, errors };
  };

/** Blocks learned together from the codes of descent, on the samples that the moments are of. */
const blockByBlock: NetworkMethod = async (it, bits) => {
  const { model, data, planOf, problems } = it;
  const plan = planOf(bits);
  const all = problems(bits);
  const start = await descended(it, all);
  const learned = await refineBlocks(
    model,
    model,
    plan,
    all.map((p) => p.layer),
    [start],
    data,
    {
      options: blockOptions('balanced'),
      nearest: roundToNearest(model.graph, plan, 'mse'),
      sparse: new Set(),
    },
    ctx,
  );
  const { initializers: stored } = withRoundedWeights(model, plan, learned.weights, () => true).graph;
  const initializers = new Map<string, Tensor>(learned.biases);
  const errors: number[] = [];
  for (const planned of all) {
    const { weight } = planned.layer;
    const values = loadTensor(required(stored.get(weight), weight), weight);
    initializers.set(weight, values);
    errors.push(await heldOutError(it, planned, values, learned.biases));
  }
  return { initializers, errors };
};

async function descended({ model }: Subject, all: readonly PlannedProblem[]): Promise<SolvedLayers> {
  const editor = new GraphEditor(model.graph);
  const weights: SolvedWeight[] = [];
  const corrections = new Map<string, Float64Array>();
  for (const planned of all) {
    const solution = await descent(planned.problem, {}, product, matrices);
    weights.push(toSolvedWeight(planned, solution));
    const bias = biasInitializer(editor, planned.layer);
    if (bias !== undefined && solution.biasCorrection !== undefined)
      corrections.set(bias, solution.biasCorrection);
  }
  return {
    weights: new Map(weights.map((w) => [w.initializer, w])),
    biases: correctedBiases(model.graph, corrections),
    reports: [],
  };
}

/** A layer's held-out error with given weights and biases, whoever found them. */
async function heldOutError(
  { model: { graph } }: Subject,
  { layer, problem }: PlannedProblem,
  weight: Tensor,
  biases: ReadonlyMap<string, Tensor>,
): Promise<number> {
  const name = biasInitializer(new GraphEditor(graph), layer) ?? '';
  const [before, after] = [graph.initializers.get(name), biases.get(name)];
  const bias =
    before === undefined || after === undefined
      ? undefined
      : Float64Array.from(toFloat32(loadTensor(before, name)), (b, r) => (toFloat32(after)[r] as number) - b);
  const values = Float64Array.from(toMatrix(layer.layout, toFloat32(weight)));
  const [error] = await relativeErrors(problem, problem.heldOut ?? problem.moments, [{ values, bias }]);
  return error ?? NaN;
}

function withAnswer({ model }: Subject, { initializers }: Answer): Model {
  const stored = [...initializers].map(([name, t]) => [name, storeTensor(t)] as const);
  return withGraph(model, {
    ...model.graph,
    initializers: new Map([...model.graph.initializers, ...stored]),
  });
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

async function cell(it: Subject, bits: string, method: NetworkMethod): Promise<string> {
  const answer = await method(it, bits);
  const path = join(temporary, 'model.onnx');
  writeModel(withAnswer(it, answer), path);
  const [task] = await score(folder, it.bench, path);
  return `${mean(answer.errors).toExponential(1)}, ${task?.value.toFixed(2)}`;
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
const isWanted = ([name]: readonly [string, ...unknown[]]): boolean => new RegExp(values.methods).test(name);
const rows = [
  ...Object.entries(METHODS).map(([name, method]) => [name, layerByLayer(method), method] as const),
  ['blocks from descent', blockByBlock, undefined] as const,
].filter(isWanted);
for (const bench of MODELS.filter((m) => names.includes(m.name)).map(withMoreRows)) {
  const it = await subject(bench);
  const [float] = await score(folder, bench, join(folder, bench.model));
  console.log(`\n${bench.name}: held-out error, ${float?.metric} (float ${float?.value.toFixed(2)})\n`);
  console.log(`| method | ${bits.map((b) => `int${b}`).join(' | ')} | white inputs |`);
  console.log(`|---|${bits.map(() => '---|').join('')}---|`);
  for (const [name, method, white] of rows) {
    const cells: string[] = [];
    for (const b of bits) cells.push(await cell(it, b, method));
    console.log(
      `| ${name} | ${cells.join(' | ')} | ${white === undefined ? '–' : await control(it, white)} |`,
    );
  }
}
await release();
await matrices.release();
rmSync(temporary, { recursive: true, force: true });
