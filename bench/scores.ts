/** The task metric of every benchmark model on its test rows, which calibration never sees. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { createContext, createRng, editDistance } from '../src/core/index.js';
import { openDataSet } from '../src/data/index.js';
import { openSession, type Session } from '../src/engine/index.js';
import { feedInputs, readModel } from '../src/onnx/index.js';
import {
  areaUnderCurve,
  argmax,
  readNpy,
  tensor,
  toFloat32,
  toNumbers,
  type Tensor,
} from '../src/tensor/index.js';
import { inFolder, type BenchModel } from './models.js';

/** One figure. `limit` is the loss that the project allows itself: points, or percent of the float value. */
export interface Score {
  readonly metric: string;
  readonly value: number;
  readonly better: 'higher' | 'lower';
  readonly limit: { readonly by: number; readonly unit: 'points' | 'percent' };
}

const POINTS = { by: 0.5, unit: 'points' } as const;
const PERCENT = { by: 1, unit: 'percent' } as const;

interface Rows {
  /** Row of the data file behind a sample. */
  readonly row: number;
  readonly output: Float32Array;
  readonly dims: readonly number[];
}

type Scorer = (folder: string, model: BenchModel, path: string) => Promise<Score[]>;

/** Scores a model file. @param path the float model or a quantized one */
export function score(folder: string, model: BenchModel, path: string): Promise<Score[]> {
  const scorer = SCORERS[model.name];
  if (scorer === undefined) throw new Error(`no score for ${model.name}`);
  return scorer(folder, model, path);
}

const SCORERS: Readonly<Record<string, Scorer>> = {
  'ic-resnet8': topOne,
  'ic-resnet8-wide': topOne,
  'cifar-resnet20': topOne,
  'cifar-resnet56': topOne,
  'kws-dscnn': topOne,
  'fashion-vit': topOne,
  'fashion-cnn': topOne,
  'bank-bert': topOne,
  'vww-mobilenet': async (folder, model, path) => {
    const scores: number[] = [];
    const labels = await readLabelArray(folder, model);
    const positive: boolean[] = [];
    let right = 0;
    for await (const { row, output } of outputs(folder, model, path)) {
      scores.push(output[1] ?? 0);
      positive.push(labels[row] === 1);
      right += Number(argmax(output) === labels[row]);
    }
    return [
      points('top-1', (100 * right) / scores.length),
      points('AUC', 100 * areaUnderCurve(scores, positive)),
    ];
  },
  fastestdet: async (folder, model, path) => {
    const labels = await readLabelArray(folder, model);
    const scores: number[] = [];
    const positive: boolean[] = [];
    for await (const { row, output } of outputs(folder, model, path)) {
      const cells = 22 * 22;
      let best = 0;
      for (let q = 0; q < cells; q++) {
        const objectness = Math.max(0, output[q] ?? 0) ** 0.6;
        best = Math.max(best, objectness * Math.max(0, output[5 * cells + q] ?? 0) ** 0.4);
      }
      scores.push(best);
      positive.push(labels[row] === 1);
    }
    return [points('person AUC', 100 * areaUnderCurve(scores, positive))];
  },
  'tiny-llama': async (folder, model, path) => {
    const { nll, count } = await nextToken(folder, model, path, 0);
    return [{ metric: 'perplexity', value: Math.exp(nll / count), better: 'lower', limit: PERCENT }];
  },
  'charrnn-lstm': async (folder, model, path) => {
    const { nll, count } = await nextToken(folder, model, path, 64);
    return [{ metric: 'bits per character', value: nll / count / Math.LN2, better: 'lower', limit: PERCENT }];
  },
  'ppocr-rec': characterErrors,
  'ppocr-det': textLines,
  'silero-vad': speech,
  'silero-vad-if': speech,
};

function points(metric: string, value: number): Score {
  return { metric, value, better: 'higher', limit: POINTS };
}

async function topOne(folder: string, model: BenchModel, path: string): Promise<Score[]> {
  const labels = await readLabelArray(folder, model);
  let right = 0;
  let count = 0;
  for await (const { row, output } of outputs(folder, model, path)) {
    right += Number(argmax(output) === labels[row]);
    count++;
  }
  return [points('top-1', (100 * right) / count)];
}

/** The first output, sample by sample. */
async function* outputs(folder: string, model: BenchModel, path: string): AsyncGenerator<Rows> {
  const session = await openSession(path);
  const data = await openDataSet(
    inFolder(folder, model.test),
    feedInputs(readModel(join(folder, model.model)).graph),
    createContext({ rng: createRng(0) }),
  );
  const [name] = session.outputs.map((o) => o.name);
  for await (const batch of data.batches(16)) {
    const output = (await session.run(batch.inputs)).get(name ?? '') as Tensor;
    const all = toFloat32(output);
    const width = all.length / batch.count;
    for (let i = 0; i < batch.count; i++) {
      const row = data.rows[batch.first + i] ?? 0;
      yield { row, output: all.subarray(i * width, (i + 1) * width), dims: output.dims.slice(1) };
    }
  }
  await session.release();
}

async function readLabelArray(folder: string, model: BenchModel): Promise<number[]> {
  return toNumbers(readArray(folder, model.labels ?? ''));
}

function readArray(folder: string, file: string): Tensor {
  return readNpy(readFileSync(join(folder, file)), file);
}

/** Negative log likelihood of the next token, in nats, from position `warmUp` on. */
async function nextToken(
  folder: string,
  model: BenchModel,
  path: string,
  warmUp: number,
): Promise<{ nll: number; count: number }> {
  const tokens = readArray(folder, model.test.path ?? '');
  const length = tokens.dims[1] ?? 0;
  const all = toNumbers(tokens);
  let nll = 0;
  let count = 0;
  for await (const { row, output, dims } of outputs(folder, model, path)) {
    const vocabulary = dims[1] ?? 1;
    for (let t = warmUp; t + 1 < length; t++) {
      const logits = output.subarray(t * vocabulary, (t + 1) * vocabulary);
      const top = logits.reduce((a, b) => Math.max(a, b), -Infinity);
      const sum = logits.reduce((a, b) => a + Math.exp(b - top), 0);
      nll += Math.log(sum) + top - (logits[all[row * length + t + 1] ?? 0] ?? 0);
      count++;
    }
  }
  return { nll, count };
}

/** Greedy CTC decoding against the true lines. */
async function characterErrors(folder: string, model: BenchModel, path: string): Promise<Score[]> {
  const keys = readFileSync(join(folder, 'ppocr-rec/keys.txt'), 'utf8').replace(/\n$/, '').split('\n');
  const vocabulary = ['', ...keys, ' '];
  const lines = readFileSync(join(folder, model.labels ?? ''), 'utf8')
    .trimEnd()
    .split('\n');
  let errors = 0;
  let length = 0;
  for await (const { row, output, dims } of outputs(folder, model, path)) {
    const [steps = 0, classes = 1] = dims;
    let text = '';
    let before = 0;
    for (let t = 0; t < steps; t++) {
      const best = argmax(output.subarray(t * classes, (t + 1) * classes));
      if (best !== 0 && best !== before) text += vocabulary[best] ?? '';
      before = best;
    }
    const truth = lines[row] ?? '';
    errors += editDistance(text, truth);
    length += truth.length;
  }
  const limit = { by: 0.5, unit: 'points' } as const;
  return [{ metric: 'character error rate', value: (100 * errors) / length, better: 'lower', limit }];
}

/** Share of text lines whose core is marked, and overlap of the mask with the float model's. */
async function textLines(folder: string, model: BenchModel, path: string): Promise<Score[]> {
  const boxes = readArray(folder, 'ppocr-det/pages12_boxes.npy');
  const box = toNumbers(boxes);
  const reference: Rows[] = [];
  for await (const page of outputs(folder, model, join(folder, model.model)))
    reference.push({ ...page, output: page.output.slice() });
  let [hits, lines, common, either, at] = [0, 0, 0, 0, 0];
  for await (const { row, output } of outputs(folder, model, path)) {
    const float = reference[at++]?.output ?? output;
    for (let q = 0; q < output.length; q++) {
      const [a, b] = [(output[q] ?? 0) > 0.3, (float[q] ?? 0) > 0.3];
      common += Number(a && b);
      either += Number(a || b);
    }
    for (let i = 0; i < (boxes.dims[0] ?? 0); i++) {
      const [page, left = 0, top = 0, right = 0, bottom = 0] = box.slice(i * 5, i * 5 + 5);
      if (page !== row) continue;
      lines++;
      hits += Number(coreMarked(output, [left, top, right, bottom]) > 0.5);
    }
  }
  return [
    points('line recall', (100 * hits) / lines),
    points('mask IoU with float', (100 * common) / either),
  ];
}

/** Marked share of a box shrunk by 30 % of its height on each side. */
function coreMarked(
  map: Float32Array,
  [left, top, right, bottom]: readonly [number, number, number, number],
): number {
  const margin = (bottom - top) * 0.3;
  const first = Math.trunc(left + margin);
  const last = Math.max(first + 1, Math.trunc(right - margin));
  let [marked, count] = [0, 0];
  for (let y = Math.trunc(top + margin); y < Math.trunc(bottom - margin); y++) {
    for (let x = first; x < last; x++) {
      count++;
      marked += Number((map[y * 640 + x] ?? 0) > 0.3);
    }
  }
  return marked / count;
}

const WINDOW = 512;
const CONTEXT = 64;

/** Highest speech probability of each clip, run window by window with its state. */
async function speech(folder: string, _model: BenchModel, path: string): Promise<Score[]> {
  const clips = readArray(folder, 'silero-vad/clips300_pcm.npy');
  const labels = toNumbers(readArray(folder, 'silero-vad/clips300_y.npy'));
  const session = await openSession(path, { threads: 1 });
  const scores: number[] = [];
  for (let clip = 0; clip < labels.length; clip++) scores.push(await clipScore(session, clips, clip));
  await session.release();
  return [points('AUC', 100 * areaUnderCurve(scores, labels))];
}

async function clipScore(session: Session, clips: Tensor, clip: number): Promise<number> {
  const length = clips.dims[1] ?? 0;
  let state = tensor('float32', [2, 1, 128]) as Tensor;
  let context = new Float32Array(CONTEXT);
  let best = 0;
  for (let t = 0; t + WINDOW <= length; t += WINDOW) {
    const window = new Float32Array(CONTEXT + WINDOW);
    window.set(context);
    for (let k = 0; k < WINDOW; k++) window[CONTEXT + k] = Number(clips.data[clip * length + t + k]) / 32768;
    context = window.slice(WINDOW);
    const feeds: Record<string, Tensor> = { input: tensor('float32', [1, window.length], window), state };
    if (session.inputs.some((i) => i.name === 'sr')) feeds.sr = tensor('int64', [], [16000]);
    const result = await session.run(feeds);
    state = result.get('stateN') as Tensor;
    best = Math.max(best, Number(result.get('output')?.data[0]));
  }
  return best;
}
