/**
 * Integer arithmetic on real models: bit for bit between the interpreter, the runtime and compiled C++, and what number
 * formats cost in accuracy. Prints the tables of docs/fixed-point.md.
 *
 * Usage: npm run bench -- fixed-point FOLDER [bits] [formats] [defaults] [points] [hot] [widths] [adapt] [words] [model …]
 */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { testVectors, writeCpp } from '../src/emit/index.js';
import { interpret, type IntegerProgram } from '../src/emit/integer/index.js';
import { openSession } from '../src/engine/index.js';
import { informationWordLength } from '../src/formats/index.js';
import { writeModel, type Model } from '../src/onnx/index.js';
import { toFloat32, type Tensor } from '../src/tensor/index.js';
import { integerBenchModel, testInputs, type IntegerBench } from './integer-models.js';
import { BINARY_POINT_METHODS } from '../src/report/index.js';
import { MODELS, modelsFolder, type BenchModel } from './models.js';
import { quantizeRequest, type Changes } from './request.js';
import { score } from './scores.js';
import { createContext } from '../src/core/index.js';
import { quantize } from '../src/pipeline/index.js';

const NAMES = ['ic-resnet8', 'cifar-resnet20', 'kws-dscnn', 'vww-mobilenet', 'fashion-vit'];
const SAMPLES = 200;

const folder = modelsFolder();
const temporary = mkdtempSync(join(tmpdir(), 'fxq-bench-'));
/** Values of the two arrays that are not the same bits. */
function differing(a: Float32Array, b: Float32Array): number {
  const [x, y] = [
    new Uint32Array(a.buffer, a.byteOffset, a.length),
    new Uint32Array(b.buffer, b.byteOffset, b.length),
  ];
  return x.reduce((count, bits, i) => count + Number(bits !== y[i]), 0);
}

async function run(model: Model, inputs: ReadonlyMap<string, Tensor>): Promise<Float32Array> {
  const session = await openSession(model);
  const [first] = (await session.run(inputs)).values();
  await session.release();
  return toFloat32(first!).slice();
}

/** Output values that differ between C++ and the interpreter, over the samples of a batch. */
function compareCpp(
  bench: IntegerBench,
  inputs: ReadonlyMap<string, Tensor>,
  expected: Float32Array,
): string {
  const { program } = bench.emitted;
  const samples = [...inputs.values()][0]!.dims[0]!;
  const shapes = new Map([...inputs].map(([name, t]) => [name, [1, ...t.dims.slice(1)]]));
  const files = writeCpp(program, { name: 'net', inputs: shapes });
  const row = (data: Float32Array, i: number): Float32Array =>
    data.subarray((i * data.length) / samples, ((i + 1) * data.length) / samples);
  const vectors = testVectors(
    Array.from({ length: samples }, (_, i) => ({
      inputs: program.inputs.map(({ real }) => row(toFloat32(inputs.get(real)!), i)),
      outputs: [row(expected, i)],
    })),
  );
  const path = (name: string): string => join(temporary, name);
  writeFileSync(path('net.h'), files.header);
  writeFileSync(path('net.cpp'), files.source);
  writeFileSync(path('net_test.cpp'), files.testBench);
  writeFileSync(path('vectors.bin'), vectors);
  const flags = ['-std=c++17', '-O2', '-Wall', '-Wextra', '-Werror'];
  const built = spawnSync('c++', [...flags, path('net.cpp'), path('net_test.cpp'), '-o', path('net_test')]);
  if (built.status !== 0) return `does not compile: ${String(built.stderr ?? 'no compiler')}`;
  const result = spawnSync(path('net_test'), [path('vectors.bin')], { encoding: 'utf8' });
  return `${/(\d+) values/.exec(result.stdout)?.[1]} (${(files.activationBytes / 1024).toFixed(1)} kB)`;
}

/** The largest distance between two outputs in steps of the output's scale. */
function largestStep(program: IntegerProgram, a: Float32Array, b: Float32Array): number {
  const scale = program.values.get(program.outputs[0]!.codes)!.scale;
  return a.reduce((most, x, i) => Math.max(most, Math.round(Math.abs(x - b[i]!) / scale)), 0);
}

async function bitForBit(chosen: readonly BenchModel[]): Promise<void> {
  console.log(`\nBit for bit, ${SAMPLES} inputs: values that differ\n`);
  console.log(
    '| model | formats | values | runtime, optimized / plain | C++ (activation memory) | QDQ, steps |',
  );
  console.log('| --- | --- | --- | --- | --- | --- |');
  for (const model of chosen) {
    for (const [activations, weights] of [
      ['uint8', 'int8'],
      ['fix8', 'fix8'],
    ] as const) {
      const bench = await integerBenchModel(folder, model, { activations, weights });
      const inputs = await testInputs(folder, model, SAMPLES);
      const { program } = bench.emitted;
      const [first] = interpret(program, inputs).outputs.values();
      const expected = toFloat32(first!);
      const optimized = await run(bench.emitted.model, inputs);
      const session = await openSession(bench.emitted.model, { optimization: 'none', threads: 1 });
      const [raw] = (await session.run(inputs)).values();
      await session.release();
      const qdq = await run(bench.qdq, inputs);
      const cells = [
        model.name,
        `${activations}, ${weights}`,
        expected.length,
        `${differing(expected, optimized)} / ${differing(expected, toFloat32(raw!))}`,
        compareCpp(bench, inputs, expected),
        `${differing(expected, qdq)}, at most ${largestStep(program, expected, qdq)}`,
      ];
      console.log(`| ${cells.join(' | ')} |`);
    }
  }
}

/** Activation format, weight format, how scales are fitted. */
const FORMATS = [
  ['uint8', 'int8', 'mse'],
  ['fix8', 'fix8', 'range'],
  ['fix8', 'fix8', 'mse'],
  ['fix6', 'fix6', 'range'],
  ['fix6', 'fix6', 'mse'],
  ['fix8', 'int6', 'mse'],
  ['fix8', 'pot8k1', 'mse'],
  ['fix8', 'pot8k2', 'mse'],
  ['fix8', 'pot8k3', 'mse'],
  ['fix8', 'pot12t2', 'mse'],
  ['fix8', 'pot12t3', 'mse'],
  ['dfp16', 'dfp16', 'range'],
  ['dfp12', 'dfp12', 'range'],
  ['dfp8', 'dfp8', 'range'],
] as const;

async function formatCosts(chosen: readonly BenchModel[]): Promise<void> {
  console.log('\nScore of the integer model by format; scales by range or by least squared error\n');
  console.log(`| activations, weights, scales | ${chosen.map((m) => m.name).join(' | ')} |`);
  console.log(`| --- | ${chosen.map(() => '---').join(' | ')} |`);
  const float = await Promise.all(
    chosen.map(async (m) => (await score(folder, m, join(folder, m.model)))[0]!.value.toFixed(2)),
  );
  console.log(`| float | ${float.join(' | ')} |`);
  for (const [activations, weights, fit] of FORMATS) {
    const cells: string[] = [];
    for (const model of chosen) {
      const bench = await integerBenchModel(folder, model, { activations, weights, fit });
      const path = join(temporary, `${model.name}.onnx`);
      writeModel(bench.emitted.model, path);
      cells.push((await score(folder, model, path))[0]!.value.toFixed(2));
    }
    console.log(`| ${activations}, ${weights}, ${fit} | ${cells.join(' | ')} |`);
  }
}

/** What `fxq quantize --weights fixN --activations fixN --emit integer` gives, all else by default, and with changes. */
const COMMANDS: readonly (readonly [format: string, label: string, changes: Changes])[] = [
  ['fix8', 'defaults', {}],
  ['fix8', 'one F a tensor', { plan: { granularity: 'tensor' } }],
  ['fix8', 'one F a tensor, learned', { plan: { granularity: 'tensor' }, binaryPoint: 'learned' }],
  ['fix6', 'defaults', {}],
  ['fix6', 'learned points', { binaryPoint: 'learned' }],
];

async function defaultsTable(chosen: readonly BenchModel[]): Promise<void> {
  console.log('\nfxq quantize --emit integer --weights FORMAT --activations FORMAT, score\n');
  console.log(`| format | | ${chosen.map((m) => m.name).join(' | ')} |`);
  console.log(`| --- | --- | ${chosen.map(() => '---').join(' | ')} |`);
  const path = join(temporary, 'command.onnx');
  for (const [format, label, changes] of COMMANDS) {
    const cells: string[] = [];
    for (const model of chosen) {
      const plan = {
        target: 'integer',
        solver: 'auto',
        weights: format,
        activations: format,
        ...changes.plan,
      } as const;
      await quantize(
        quantizeRequest(folder, model, path, { ...changes, emit: 'integer', plan }),
        createContext(),
      );
      cells.push((await score(folder, model, path))[0]!.value.toFixed(2));
    }
    console.log(`| ${[format, label, ...cells].join(' | ')} |`);
  }
}

/** Format of weights and activations, and granularity of weights, for the ways to choose binary points. */
const POINTS = [
  ['fix8', 'tensor'],
  ['fix6', 'tensor'],
  ['fix5', 'tensor'],
  ['fix6', 'channel'],
] as const;

/** Score of the integer model, and its held-out SQNR on calibration data. */
async function pointTable(chosen: readonly BenchModel[]): Promise<void> {
  console.log(
    '\nBinary points by three ways, weights rounded to nearest: score (held-out SQNR of the outputs)\n',
  );
  console.log('| model | formats | ranges | exhaustive | learned |');
  console.log('| --- | --- | --- | --- | --- |');
  for (const model of chosen) {
    for (const [format, granularity] of POINTS) {
      const settings = { activations: format, weights: format, granularity };
      const cells: string[] = [];
      for (const binaryPoint of BINARY_POINT_METHODS) {
        const bench = await integerBenchModel(folder, model, { ...settings, binaryPoint });
        const path = join(temporary, `${model.name}.onnx`);
        writeModel(bench.emitted.model, path);
        const top = (await score(folder, model, path))[0]!.value.toFixed(2);
        const trial = bench.points!.trials.find((t) => t.method === binaryPoint)!;
        cells.push(`${top} (${trial.heldOut!.toFixed(1)} dB)`);
      }
      console.log(`| ${[model.name, `${format}, one F a ${granularity}`, ...cells].join(' | ')} |`);
    }
  }
}

/** Weights in sums of powers of two against 6 uniform bits, rounded and solved. */
const HOT = [
  ['int6', 'nearest'],
  ['int6', 'descent'],
  ['pot8k2', 'nearest'],
  ['pot8k2', 'descent'],
  ['pot8k1', 'nearest'],
  ['pot8k1', 'descent'],
] as const;

async function hotTable(chosen: readonly BenchModel[]): Promise<void> {
  console.log('\nMultiplier-free weights against 6 uniform bits; activations fix8, least squared error\n');
  console.log('| model | weights, solver | score | shifts a weight | additions a weight |');
  console.log('| --- | --- | --- | --- | --- |');
  for (const model of chosen) {
    for (const [weights, solver] of HOT) {
      const settings = { activations: 'fix8', weights, fit: 'mse', solver } as const;
      const bench = await integerBenchModel(folder, model, settings);
      const path = join(temporary, `${model.name}.onnx`);
      writeModel(bench.emitted.model, path);
      const counts = bench.emitted.table.weights.flatMap(({ shiftAdds }) => shiftAdds ?? []);
      const elements = weightedLayers(bench).reduce(
        (sum, { initializer }) => sum + bench.weights(initializer).length,
        0,
      );
      const per = (of: 'shifts' | 'adds'): string =>
        counts.length === 0 ? '–' : (counts.reduce((sum, c) => sum + c[of], 0) / elements).toFixed(2);
      const top = (await score(folder, model, path))[0]!.value.toFixed(2);
      console.log(
        `| ${[model.name, `${weights}, ${solver}`, top, per('shifts'), per('adds')].join(' | ')} |`,
      );
    }
  }
}

async function accumulatorTable(chosen: readonly BenchModel[]): Promise<void> {
  console.log('\nAccumulators of convolutions and matrix products, bits (uint8, int8)\n');
  console.log('| model | layers | any input, most | calibrated, most | observed, most |');
  console.log('| --- | --- | --- | --- | --- |');
  for (const model of chosen) {
    const bench = await integerBenchModel(folder, model, { activations: 'uint8', weights: 'int8' });
    const inputs = await testInputs(folder, model, 20);
    const { peaks } = interpret(bench.emitted.program, inputs);
    const rows = bench.emitted.table.accumulators.filter(
      ({ kind }) => kind === 'convolution' || kind === 'matrix-product',
    );
    const most = (bits: (row: (typeof rows)[number]) => number): number => Math.max(...rows.map(bits));
    const observed = ({ node }: { node: string }): number => {
      const { low, high } = peaks.get(node)!;
      return Math.ceil(Math.log2(Math.max(-low, high) + 1)) + 1;
    };
    const cells = [
      model.name,
      rows.length,
      most((r) => r.bits),
      most((r) => r.calibratedBits ?? r.bits),
      most(observed),
    ];
    console.log(`| ${cells.join(' | ')} |`);
  }
}

/** Resolutions that give AdaPT's criterion the narrow words at which formats differ. */
const RESOLUTIONS = [8, 12, 20, 40] as const;
const EPSILON = 1e-2;

/** The weighted layers of a plan with their initializers. */
function weightedLayers({ plan }: IntegerBench): { node: string; initializer: string }[] {
  return Object.values(plan.nodes).flatMap(({ node, opType, weights }) => {
    const initializer = Object.values(weights)[0];
    return initializer === undefined || !['Conv', 'Gemm', 'MatMul'].includes(opType)
      ? []
      : [{ node, initializer }];
  });
}

/** Word lengths by information content against the same width everywhere, weights only, one scale a tensor. */
async function adaptTable(chosen: readonly BenchModel[]): Promise<void> {
  console.log('\nAdaPT word lengths against uniform ones; activations fix8, scales by range, one a tensor\n');
  console.log('| model | resolution | word lengths | mean bits | score | uniform, bits: score |');
  console.log('| --- | --- | --- | --- | --- | --- |');
  const scoreOf = async (bench: IntegerBench, model: BenchModel): Promise<number> => {
    const path = join(temporary, `${model.name}.onnx`);
    writeModel(bench.emitted.model, path);
    return (await score(folder, model, path))[0]!.value;
  };
  for (const model of chosen) {
    const base = { activations: 'fix8', weights: 'fix8', granularity: 'tensor' } as const;
    const plain = await integerBenchModel(folder, model, base);
    const layers = weightedLayers(plain).map(({ node, initializer }) => {
      const values = plain.weights(initializer);
      return { node, values };
    });
    const total = layers.reduce((sum, { values }) => sum + values.length, 0);
    const uniform = new Map<number, number>();
    for (const resolution of RESOLUTIONS) {
      const words = layers.map(({ values }) =>
        informationWordLength({ values }, { resolution, epsilon: EPSILON }),
      );
      const mean = layers.reduce((sum, { values }, i) => sum + values.length * words[i]!.bits, 0) / total;
      const nodes = layers.map(({ node }, i) => ({ match: { node }, weights: `fix${words[i]!.bits}` }));
      const adapted = await scoreOf(await integerBenchModel(folder, model, { ...base, nodes }), model);
      for (const bits of [Math.floor(mean), Math.ceil(mean)]) {
        if (uniform.has(bits)) continue;
        const bench = await integerBenchModel(folder, model, { ...base, weights: `fix${bits}` });
        uniform.set(bits, await scoreOf(bench, model));
      }
      const spread = `${Math.min(...words.map((w) => w.bits))}…${Math.max(...words.map((w) => w.bits))}`;
      const others = [Math.floor(mean), Math.ceil(mean)].map((b) => `${b}: ${uniform.get(b)!.toFixed(2)}`);
      const cells = [model.name, resolution, spread, mean.toFixed(2), adapted.toFixed(2), others.join(', ')];
      console.log(`| ${cells.join(' | ')} |`);
    }
  }
}

/** AdaPT's words for weights and activations against the same widths everywhere, rounded up. */
async function wordsTable(chosen: readonly BenchModel[]): Promise<void> {
  console.log('\nAdaPT word lengths of weights and activations against uniform ones; one F a tensor\n');
  console.log(
    '| model | resolution | bits of weights, of activations | cut at 16 | score | uniform weights, activations: score |',
  );
  console.log('| --- | --- | --- | --- | --- | --- |');
  const base = { activations: 'fix8', weights: 'fix8', granularity: 'tensor' } as const;
  const path = join(temporary, 'words.onnx');
  const scoreOf = async (bench: IntegerBench, model: BenchModel): Promise<number> => {
    writeModel(bench.emitted.model, path);
    return (await score(folder, model, path))[0]!.value;
  };
  for (const model of chosen) {
    for (const resolution of [12, 40]) {
      const wordLength = { resolution, epsilon: EPSILON };
      const bench = await integerBenchModel(folder, model, { ...base, wordLength });
      const { weights, activations } = bench.words!;
      const elements = weights.reduce((sum, w) => sum + w.elements, 0);
      const ofWeights = weights.reduce((sum, w) => sum + w.bits * w.elements, 0) / elements;
      const ofActivations = activations.reduce((sum, a) => sum + a.bits, 0) / activations.length;
      const [w, a] = [Math.round(ofWeights), Math.round(ofActivations)];
      const uniform = await integerBenchModel(folder, model, {
        ...base,
        weights: `fix${w}`,
        activations: `fix${a}`,
      });
      const cells = [
        model.name,
        resolution,
        `${ofWeights.toFixed(2)}, ${ofActivations.toFixed(2)}`,
        [...weights, ...activations].filter(({ divergence }) => divergence > EPSILON).length,
        (await scoreOf(bench, model)).toFixed(2),
        `${w}, ${a}: ${(await scoreOf(uniform, model)).toFixed(2)}`,
      ];
      console.log(`| ${cells.join(' | ')} |`);
    }
  }
}

const words = process.argv.slice(3);
const TABLES = {
  bits: bitForBit,
  formats: formatCosts,
  defaults: defaultsTable,
  points: pointTable,
  hot: hotTable,
  widths: accumulatorTable,
  adapt: adaptTable,
  words: wordsTable,
} as const;
const wantedTables = (Object.keys(TABLES) as (keyof typeof TABLES)[]).filter(
  (table) => words.every((word) => !(word in TABLES)) || words.includes(table),
);
const asked = MODELS.map(({ name }) => name).filter((name) => words.includes(name));
const wantedNames = asked.length === 0 ? NAMES : asked;
const models = MODELS.filter((m) => wantedNames.includes(m.name));
for (const table of wantedTables) await TABLES[table](models);
rmSync(temporary, { recursive: true, force: true });
