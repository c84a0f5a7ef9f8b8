/** SmoothQuant for a model: reach of channels from data, α given or chosen group by group, scales written in. */
import { collect, type Statistics } from '../calibrate/index.js';
import { FxqError, checkAbort, required, type Context } from '../core/index.js';
import { type DataSet } from '../data/index.js';
import { createRunner, openSession, withOutputs } from '../engine/index.js';
import { parseFormat } from '../formats/index.js';
import { type Model } from '../onnx/index.js';
import {
  planQuantization,
  type PlanSettings,
  type ValueTypes,
  type WeightQuantization,
} from '../plan/index.js';
import {
  smooth,
  smoothingGroups,
  smoothingScales,
  type SmoothedGroup,
  type SmoothingGroup,
} from '../rewrite/index.js';
import {
  findWeightedLayers,
  layerWeight,
  matrixSize,
  openSmoothingMeter,
  type SmoothedProduct,
  type SmoothingMeter,
} from '../solve/index.js';
import { tensor, toFloat32, type Tensor } from '../tensor/index.js';

export interface SmoothingRequest {
  readonly alpha: number | 'auto';
  readonly insert: boolean;
}

/** α tried, with the activation left alone as the first choice. */
const ALPHAS = [0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1];
/** Samples looked at, and rows of an activation kept of them. */
const SAMPLES = 64;
const ROWS = 512;
/** Share of the rows, the last ones, that are kept apart. */
const HELD_OUT = 0.25;

/** Smooths every activation of matrix products that can be. */
export async function smoothActivations(
  model: Model,
  types: ValueTypes,
  settings: PlanSettings,
  request: SmoothingRequest,
  isWanted: (node: string) => boolean,
  data: DataSet,
  ctx: Context,
): Promise<{ readonly model: Model; readonly groups: readonly SmoothedGroup[] }> {
  const groups = smoothingGroups(model, types, request.insert, isWanted);
  if (groups.length === 0) return { model, groups: [] };
  const inputs = [...new Set(groups.flatMap((g) => g.inputs))];
  const statistics = await collect(model, data, inputs, ctx);
  const rows = await readRows(model, inputs, data, ctx);
  const formats = request.alpha === 'auto' ? formatsOf(model, types, settings) : undefined;
  const progress = ctx.start('Smoothing activations', groups.length);
  const reports: SmoothedGroup[] = [];
  const scaled: (SmoothingGroup & { scales: Float64Array })[] = [];
  for (const [i, group] of groups.entries()) {
    checkAbort(ctx);
    const x = stack(group.inputs.map((name) => required(rows.get(name), name)));
    const reach = seenReach(group, statistics) ?? columnReach(x);
    const scalesAt = (alpha: number): Float64Array => smoothingScales(model, group, reach, alpha);
    const chosen =
      formats === undefined
        ? { alpha: request.alpha as number }
        : await chooseAlpha(model, group, x, scalesAt, formats, ctx);
    const scales = chosen.alpha === undefined ? undefined : scalesAt(chosen.alpha);
    if (scales !== undefined) scaled.push({ ...group, scales });
    const { readers, inserted } = group;
    reports.push({
      inputs: group.inputs,
      readers,
      inserted,
      ratio: { before: ratioOf(reach), after: ratioOf(reach.map((r, c) => r / (scales?.[c] ?? 1))) },
      ...chosen,
    });
    progress.update(i + 1);
  }
  progress.finish();
  return { model: scaled.length === 0 ? model : smooth(model, scaled), groups: reports };
}

/** Formats of the readers, as planned. */
type ReaderFormats = ReadonlyMap<string, Omit<SmoothedProduct, 'weight'>>;

function formatsOf(model: Model, types: ValueTypes, settings: PlanSettings): ReaderFormats {
  const plan = planQuantization(model, types, settings);
  return new Map(
    Object.values(plan.nodes).map((node) => {
      const weight = plan.weights[Object.values(node.weights)[0] ?? ''];
      const activation = plan.activations[node.inputs.find((id) => id !== null) ?? ''];
      if (weight !== undefined && !isIntegerGrid(weight.format)) throw needsAlpha(weight.format);
      return [
        node.node,
        {
          weights: weight?.format ?? 'float',
          granularity: granularityOf(weight),
          activations: activation?.format ?? (node.decision === 'dynamic' ? 'uint8' : 'float'),
        },
      ] as const;
    }),
  );
}

function granularityOf(weight: WeightQuantization | undefined): SmoothedProduct['granularity'] {
  if (weight === undefined) return 'channel';
  const { granularity } = weight;
  return granularity.kind === 'block' ? { block: granularity.size } : granularity.kind;
}

const isIntegerGrid = (name: string): boolean => parseFormat(name).uniform && parseFormat(name).integer;

function needsAlpha(format: string): FxqError {
  return new FxqError('E_UNSUPPORTED', `α of smoothing cannot be measured for weights in ${format}`, [
    'Give it: --smooth-alpha 0.5.',
  ]);
}

/** The α with the least error of all readers on rows that it may look at; undefined when none beats leaving it. */
async function chooseAlpha(
  model: Model,
  group: SmoothingGroup,
  x: Tensor,
  scalesAt: (alpha: number) => Float64Array,
  formats: ReaderFormats,
  ctx: Context,
): Promise<Pick<SmoothedGroup, 'alpha' | 'fit' | 'heldOut'>> {
  const layers = findWeightedLayers(model.graph).filter((l) => group.readers.includes(l.node.name));
  const meters: SmoothingMeter[] = [];
  for (const layer of layers) {
    const { rows, cols } = matrixSize(layer.layout);
    const format = formats.get(layer.node.name);
    if (format === undefined || (format.weights === 'float' && format.activations === 'float')) continue;
    const weight = transposed(layerWeight(model.graph, layer), rows, cols);
    meters.push(await openSmoothingMeter({ weight, ...format }, ctx.threads));
  }
  try {
    if (meters.length === 0) return {};
    const mean = async (rows: Tensor, scales: Float64Array): Promise<number> => {
      let sum = 0;
      for (const meter of meters) sum += await meter.error(rows, scales);
      return sum / meters.length;
    };
    const [fit, apart] = split(x);
    const none = new Float64Array(x.dims[1] ?? 0).fill(1);
    const before = await mean(fit, none);
    let best: { alpha?: number; error: number } = { error: before };
    for (const alpha of ALPHAS) {
      const error = await mean(fit, scalesAt(alpha));
      if (error < best.error) best = { alpha, error };
    }
    const scales = best.alpha === undefined ? none : scalesAt(best.alpha);
    return {
      ...(best.alpha === undefined ? {} : { alpha: best.alpha }),
      fit: { before, after: best.error },
      ...(apart === undefined
        ? {}
        : { heldOut: { before: await mean(apart, none), after: await mean(apart, scales) } }),
    };
  } finally {
    for (const meter of meters) await meter.release();
  }
}

/** Rows of values, [rows, channels] each, evenly taken over the first samples. */
async function readRows(
  model: Model,
  names: readonly string[],
  data: DataSet,
  ctx: Context,
): Promise<Map<string, Tensor>> {
  const session = await openSession(withOutputs(model, [...new Set([...names, ...data.carry.values()])]), {
    threads: ctx.threads,
  });
  const runner = createRunner(session, data.carry);
  const parts = new Map(names.map((name) => [name, [] as Float32Array[]]));
  const width = new Map<string, number>();
  const samples = Math.min(data.samples, SAMPLES);
  try {
    for await (const { inputs, count } of data.batches(8, 0, samples)) {
      const results = await runner.run(inputs, names);
      for (const name of names) {
        const t = required(results.get(name), name);
        const channels = t.dims.at(-1) ?? 1;
        width.set(name, channels);
        const wanted = Math.max(1, Math.ceil((ROWS * count) / samples));
        parts.get(name)?.push(takeRows(toFloat32(t), channels, wanted));
      }
    }
  } finally {
    await session.release();
  }
  return new Map(
    names.map((name) => {
      const all = concatenate(parts.get(name) ?? []);
      const channels = width.get(name) ?? 1;
      return [name, tensor('float32', [all.length / channels, channels], all)];
    }),
  );
}

function takeRows(values: Float32Array, channels: number, wanted: number): Float32Array {
  const rows = values.length / channels;
  const step = Math.max(1, Math.floor(rows / wanted));
  const taken = Math.min(wanted, Math.ceil(rows / step));
  const out = new Float32Array(taken * channels);
  for (let i = 0; i < taken; i++) {
    const from = i * step * channels;
    out.set(values.subarray(from, from + channels), i * channels);
  }
  return out;
}

function concatenate(parts: readonly Float32Array[]): Float32Array {
  const out = new Float32Array(parts.reduce((sum, p) => sum + p.length, 0));
  let at = 0;
  for (const part of parts) {
    out.set(part, at);
    at += part.length;
  }
  return out;
}

function stack(tensors: readonly Tensor[]): Tensor {
  const all = concatenate(tensors.map((t) => toFloat32(t)));
  const channels = tensors[0]?.dims[1] ?? 1;
  return tensor('float32', [all.length / channels, channels], all);
}

function split(x: Tensor): [Tensor, Tensor | undefined] {
  const [rows = 0, channels = 1] = x.dims;
  const apart = Math.floor(rows * HELD_OUT);
  if (apart < 1) return [x, undefined];
  const values = toFloat32(x);
  const part = (from: number, to: number): Tensor =>
    tensor('float32', [to - from, channels], values.slice(from * channels, to * channels));
  return [part(0, rows - apart), part(rows - apart, rows)];
}

/** Largest magnitude of every channel over all calibration samples, where statistics tell the channels apart. */
function seenReach({ inputs, group }: SmoothingGroup, { tensors }: Statistics): Float64Array | undefined {
  const reach = new Float64Array(group.channels);
  for (const name of inputs) {
    const channels = tensors.get(name)?.channels;
    if (channels?.max.length !== group.channels) return undefined;
    channels.max.forEach((most, c) => {
      const size = Math.max(Math.abs(most), Math.abs(channels.min[c] ?? 0));
      if (Number.isFinite(size)) reach[c] = Math.max(reach[c] as number, size);
    });
  }
  return reach;
}

/** Largest magnitude of every column. */
function columnReach(x: Tensor): Float64Array {
  const [, channels = 1] = x.dims;
  const reach = new Float64Array(channels);
  toFloat32(x).forEach((v, i) => {
    const c = i % channels;
    reach[c] = Math.max(reach[c] as number, Math.abs(v));
  });
  return reach;
}

function ratioOf(reach: Float64Array): number {
  const alive = reach.filter((r) => r > 0);
  if (alive.length === 0) return 1;
  return alive.reduce((a, b) => Math.max(a, b)) / alive.reduce((a, b) => Math.min(a, b));
}

/** [rows × cols] as [cols, rows]. */
function transposed(w: Float32Array, rows: number, cols: number): Tensor {
  const out = new Float32Array(w.length);
  for (let r = 0; r < rows; r++) for (let c = 0; c < cols; c++) out[c * rows + r] = w[r * cols + c] as number;
  return tensor('float32', [cols, rows], out);
}
