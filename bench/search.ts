/**
 * Mixed precision on real models: searched assignments against uniform widths and against their own reverse, all written
 * by the same solver and judged on rows that the search never saw.
 * Usage: npm run bench -- search FOLDER [model …] [--by size,bops,stored] [--widths 8,4,50%]; prints the tables of docs/results.md.
 */
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { createContext, required } from '../src/core/index.js';
import { openDataSet, readLabels } from '../src/data/index.js';
import { openSession } from '../src/engine/index.js';
import { feedInputs, readModel, type Model } from '../src/onnx/index.js';
import {
  bestWithin,
  contestTables,
  contestWithin,
  openSearch,
  pointWriter,
  trialWriter,
  writtenLoss,
  type OpenSearch,
  type WritingRequest,
} from '../src/pipeline/index.js';
import { DEFAULT_SETTINGS } from '../src/plan/index.js';
import {
  DEFAULT_AXES,
  HARDWARE,
  allocationGroups,
  assignmentOf,
  estimateSensitivities,
  evaluate as totalsOf,
  measureSensitivity,
  sampleLosses,
  type Assignment,
  type CandidateAxes,
  type CostName,
  type Group,
  type LayerCandidate,
} from '../src/search/index.js';
import { argmax, toFloat32, toNumbers, type Tensor } from '../src/tensor/index.js';
import { MODELS, inFolder, modelsFolder, type BenchModel } from './models.js';

const WIDTHS = [8, 6, 5, 4, 3] as const;
const MODELS_SEARCHED = ['cifar-resnet20', 'cifar-resnet56', 'vww-mobilenet', 'fashion-vit'];
const SAMPLES = 128;
/** Above this width every assignment is about as good as float, the reversed one too. */
const REVERSED = 4;

/** A front's cost, what layers may choose from, and the uniform assignment of a width. */
interface Race {
  readonly cost: CostName;
  readonly axes: CandidateAxes;
  uniform(bits: number): Pick<LayerCandidate, 'weights' | 'activations'>;
}

const RACES: Readonly<Record<string, Race>> = {
  size: {
    cost: 'bits',
    axes: {
      ...DEFAULT_AXES,
      weights: ['int8', 'int6', 'int5', 'int4', 'int3', 'int2'],
      solvers: ['descent'],
    },
    uniform: (bits) => ({ weights: `int${bits}`, activations: 'uint8' }),
  },
  /** Bytes as stored: only formats that fill theirs. */
  stored: {
    cost: 'size',
    axes: { ...DEFAULT_AXES, weights: ['int8', 'int4', 'int2'], solvers: ['descent'] },
    uniform: (bits) => ({ weights: `int${bits}`, activations: 'uint8' }),
  },
  bops: {
    cost: 'bops',
    axes: {
      ...DEFAULT_AXES,
      weights: ['int8', 'int6', 'int5', 'int4', 'int3', 'int2'],
      activations: ['uint8', 'uint6', 'uint5', 'uint4', 'uint3'],
      solvers: ['descent'],
    },
    uniform: (bits) => ({ weights: `int${bits}`, activations: `uint${bits}` }),
  },
};

/** How far a model is from the float one on test rows. */
interface Quality {
  readonly top1: number;
  /** Mean KL divergence, with its standard error. */
  readonly kl: number;
  readonly error: number;
}

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    by: { type: 'string', default: 'size,bops' },
    widths: { type: 'string', default: WIDTHS.join() },
  },
});
const folder = modelsFolder();
const wanted = positionals.slice(1);
/** Widths of uniform assignments, or shares of the cost of 8 bits: `50%`. */
const widths = values.widths.split(',');
for (const name of wanted.length === 0 ? MODELS_SEARCHED : wanted) {
  const model = required(
    MODELS.find((m) => m.name === name),
    name,
  );
  for (const by of values.by.split(',')) await race(model, required(RACES[by], by));
}

async function race(model: BenchModel, { cost, axes, uniform }: Race): Promise<void> {
  const ctx = createContext({ seed: 0, threads: 1 });
  const request: WritingRequest = {
    model: join(folder, model.model),
    out: '',
    data: inFolder(folder, model.calibration),
    plan: { ...DEFAULT_SETTINGS, solver: 'descent' },
    ranges: { method: 'layer-error' },
    weightRange: 'mse',
    scales: { ranges: { method: 'auto' }, weightRange: 'auto' },
    axes,
    hardware: HARDWARE.generic,
    budgets: [{ cost, amount: { kind: 'share', share: 1, of: 'int8' } }],
    samples: SAMPLES,
    solving: { effort: 'balanced' },
  };
  const open = await openSearch(request, ctx);
  const judge = await openJudge(model, open);
  const float = await judge(open.loaded.source);
  const measured = await measureSensitivity(open.study, ctx);
  const groups = allocationGroups(open.space, measured);
  const tables = contestTables(open.space, measured, await estimateSensitivities(open.study, ctx));
  const reversed = reverse(groups);
  const write = pointWriter(request, open, ctx);
  const trial = writtenLoss(trialWriter(request, open, ctx), open, ctx);
  console.log(`\n${model.name}, ${cost}; float top-1 ${float.top1.toFixed(2)}\n`);
  console.log(
    `| width | ${cost} of int8 | uniform | mixed | reversed | KL uniform | KL mixed | KL reversed | mixed from | mixed layers |`,
  );
  console.log(`|${' --- |'.repeat(10)}`);
  const all = totalsOf(groups, uniformChoice(groups, open, uniform(8))).totals[cost] ?? NaN;
  for (const width of widths) {
    const share = /^([\d.]+)%$/.exec(width)?.[1];
    // A share is compared with 8 bits.
    const bits = share === undefined ? Number(width) : 8;
    const choice = uniformChoice(groups, open, uniform(bits));
    const max =
      share === undefined ? (totalsOf(groups, choice).totals[cost] ?? NaN) : (all * Number(share)) / 100;
    const limits = [{ amount: cost, max }];
    const mixed = await contestWithin(open, tables, limits, trial, ctx);
    const wrong =
      share === undefined && bits > REVERSED ? undefined : await bestWithin(open, reversed, limits, ctx, 0);
    const found: Quality[] = [];
    for (const c of [choice, mixed.choice, ...(wrong === undefined ? [] : [wrong.choice])])
      found.push(await judge(await write(at(open, c))));
    const column = (of: (q: Quality) => string): string[] =>
      [0, 1, 2].map((k) => (found[k] === undefined ? '' : of(found[k])));
    const cells = [
      ...column((q) => q.top1.toFixed(2)),
      ...column((q) => `${q.kl.toExponential(2)} ± ${q.error.toExponential(0)}`),
    ];
    const formats = assignmentOf(open.space, mixed.choice);
    const counts = new Map<string, number>();
    for (const { weights, activations } of formats.values()) {
      const key = cost === 'bits' ? weights : `${weights}/${activations}`;
      counts.set(key, (counts.get(key) ?? 0) + 1);
    }
    cells.push(
      mixed.contest.taken,
      [...counts]
        .sort()
        .map(([key, n]) => `${n} ${key}`)
        .join(', '),
    );
    console.log(`| ${width} | ${((100 * max) / all).toFixed(1)} % | ${cells.join(' | ')} |`);
  }
}

function at(open: OpenSearch, choice: readonly number[]): Assignment {
  return assignmentOf(open.space, choice);
}

/** The candidate of the same formats in every group; the rest has one only. */
function uniformChoice(
  groups: readonly Group[],
  { space }: OpenSearch,
  formats: Pick<LayerCandidate, 'weights' | 'activations'>,
): number[] {
  return groups.map((_, g) => {
    const candidates = space.groups[g]?.candidates;
    if (candidates === undefined) return 0;
    return candidates.findIndex(
      (c) => c.weights === formats.weights && c.activations === formats.activations,
    );
  });
}

/** The negative control: the losses of the most sensitive layer go to the least sensitive one, and so on. */
function reverse(groups: readonly Group[]): Group[] {
  const layers = groups.map((_, g) => g).filter((g) => (groups[g]?.layers.length ?? 0) > 0);
  const total = (g: number): number =>
    (groups[g]?.candidates ?? []).reduce((sum, c) => sum + (c.amounts.loss ?? 0), 0);
  const ranked = [...layers].sort((a, b) => total(a) - total(b));
  const partner = new Map(ranked.map((g, i) => [g, required(ranked[ranked.length - 1 - i], 'a layer')]));
  return groups.map((group, g) => ({
    ...group,
    candidates: group.candidates.map((candidate, c) => ({
      ...candidate,
      amounts: {
        ...candidate.amounts,
        loss: required(groups[partner.get(g) ?? g]?.candidates[c]?.amounts.loss, 'a loss'),
      },
    })),
  }));
}

/** Judges models on the test rows, which neither calibration nor search sees. */
async function openJudge(model: BenchModel, open: OpenSearch): Promise<(model: Model) => Promise<Quality>> {
  const graph = readModel(join(folder, model.model)).graph;
  const data = await openDataSet(inFolder(folder, model.test), feedInputs(graph), createContext());
  const labels = toNumbers(readLabels(join(folder, model.labels ?? ''), data) as Tensor);
  const name = open.study.output;
  const outputs = async (of: Model): Promise<Tensor[]> => {
    const session = await openSession(of);
    const results: Tensor[] = [];
    for await (const { inputs } of data.batches(32))
      results.push(required((await session.run(inputs, [name])).get(name), name));
    await session.release();
    return results;
  };
  const reference = await outputs(open.loaded.source);
  return async (quantized) => {
    const losses: number[] = [];
    let [right, row] = [0, 0];
    for (const [i, actual] of (await outputs(quantized)).entries()) {
      losses.push(...sampleLosses(open.study.loss, required(reference[i], 'a reference'), actual));
      const scores = toFloat32(actual);
      const width = actual.dims.at(-1) ?? 1;
      for (let at = 0; at < scores.length; at += width)
        right += Number(argmax(scores.subarray(at, at + width)) === labels[row++]);
    }
    const kl = losses.reduce((a, b) => a + b, 0) / losses.length;
    const variance = losses.reduce((sum, l) => sum + (l - kl) ** 2, 0) / (losses.length - 1);
    return { top1: (100 * right) / row, kl, error: Math.sqrt(variance / losses.length) };
  };
}
