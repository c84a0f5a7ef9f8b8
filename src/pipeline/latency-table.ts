/** Times of single operators on this machine, measured once: what a latency budget adds up. */
import { mkdtempSync, readFileSync, readdirSync, rmSync } from 'node:fs';
import { cpus, tmpdir } from 'node:os';
import { join } from 'node:path';
import { FxqError, assert, checkAbort, required, type Context } from '../core/index.js';
import { emitQdq } from '../emit/index.js';
import { inferValueTypes, openSession, runtimeVersion } from '../engine/index.js';
import { parseFormat } from '../formats/index.js';
import { GraphEditor, dataOutputs, value, withGraph, type Model, type TensorType } from '../onnx/index.js';
import { planQuantization, type Plan, type PlanSettings } from '../plan/index.js';
import {
  FLOAT_FORMATS,
  INT8_FORMATS,
  cached,
  latencyKey,
  type Hardware,
  type LayerFormats,
  type SearchCache,
  type SearchLayer,
  type SearchSpace,
} from '../search/index.js';
import { roundToNearest } from '../solve/index.js';
import { tensor, type Tensor } from '../tensor/index.js';
import { type OpenSearch } from './open-search.js';

/** Measured runs of each operator; the median counts. */
const RUNS = 30;
const WARM_UP = 5;

/**
 * The space with a table of latencies, when one is asked for and its hardware is this machine: every operator at every
 * format it may take, as a model of its own between integers, timed by the runtime's profiler. Times are kept by
 * machine, so that a second search finds the same ones.
 *
 * @throws FxqError E_UNSUPPORTED for an operator that cannot be run on its own
 */
export async function withLatencies(
  { loaded, space }: Pick<OpenSearch, 'loaded' | 'space'>,
  plan: PlanSettings,
  cache: SearchCache,
  ctx: Context,
): Promise<SearchSpace> {
  const { hardware } = space;
  if (
    !space.costs.includes('latency') ||
    hardware.latency !== undefined ||
    hardware.name !== 'onnxruntime-cpu'
  )
    return space;
  const machine = `${cpus()[0]?.model ?? 'unknown processor'}, onnxruntime ${await runtimeVersion()}, ${ctx.threads} threads`;
  const wanted = new Map<string, { readonly layer: SearchLayer; readonly formats: LayerFormats }>();
  for (const { layers, candidates } of space.groups)
    for (const layer of layers)
      for (const formats of [...candidates, FLOAT_FORMATS, INT8_FORMATS])
        wanted.set(latencyKey(layer, formats), { layer, formats });
  const progress = ctx.start('Timing operators', wanted.size);
  const microseconds: Record<string, number> = {};
  let done = 0;
  for (const [key, { layer, formats }] of wanted) {
    checkAbort(ctx);
    microseconds[key] = await cached(cache, ['latency', machine, key], () =>
      timeLayer(loaded.model, loaded.types, plan, layer, formats, ctx),
    );
    progress.update(++done);
  }
  progress.finish();
  const measured: Hardware = { ...hardware, latency: { source: machine, microseconds } };
  return { ...space, hardware: measured };
}

async function timeLayer(
  model: Model,
  types: ReadonlyMap<string, TensorType>,
  settings: PlanSettings,
  layer: SearchLayer,
  formats: LayerFormats,
  ctx: Context,
): Promise<number> {
  const single = singleLayer(model, types, layer);
  const isFloat = formats.weights === 'float';
  const tuned: PlanSettings = {
    ...settings,
    weights: formats.weights,
    activations: formats.activations,
    granularity: formats.granularity,
    nodes: [],
    tensors: [],
  };
  const timed = isFloat ? single : await betweenIntegers(single, tuned);
  return timeModel(timed, ctx);
}

/** The layer's node alone, for one sample. */
function singleLayer(model: Model, types: ReadonlyMap<string, TensorType>, { layer }: SearchLayer): Model {
  const { node } = layer;
  const sized = (name: string): TensorType => {
    const type = required(types.get(name), `the type of ${name}`);
    return { ...type, dims: (type.dims ?? []).map((d) => (typeof d === 'number' ? d : 1)) };
  };
  const open = [...new Set(node.inputs)].filter((name) => name !== '' && !model.graph.initializers.has(name));
  const strange = open.find((name) => types.get(name)?.dtype !== 'float32');
  if (strange !== undefined)
    throw new FxqError(
      'E_UNSUPPORTED',
      `the latency of '${node.name}' cannot be measured: its input '${strange}' is not float`,
      'Exclude this node, or declare its latency in a hardware profile.',
    );
  const output = node.outputs[dataOutputs(node)[0] ?? 0] ?? '';
  const initializers = [...model.graph.initializers].filter(([name]) => node.inputs.includes(name));
  return withGraph(model, {
    name: 'layer',
    inputs: open.map((name) => value(name, 'float32', sized(name).dims)),
    outputs: [value(output, 'float32', sized(output).dims)],
    nodes: [node],
    initializers: new Map(initializers),
    valueInfo: new Map(),
  });
}

/** Quantized with arbitrary scales, and without the conversions at its ends, which neighbours would share. */
async function betweenIntegers(single: Model, settings: PlanSettings): Promise<Model> {
  const plan = withUnitRanges(planQuantization(single, await inferValueTypes(single), settings));
  const quantized = emitQdq(single, plan, roundToNearest(single.graph, plan, 'range'));
  const editor = new GraphEditor(quantized.graph);
  for (const node of quantized.graph.nodes) {
    const [input = ''] = node.inputs;
    const [output = ''] = node.outputs;
    const dims = (name: string, list: typeof editor.inputs): TensorType['dims'] =>
      list.find((v) => v.name === name)?.type?.dims;
    const format = Object.values(plan.activations).find(
      (a) => a.value === input || a.value === output,
    )?.format;
    const dtype = format === undefined ? undefined : parseFormat(format).dtype;
    if (dtype === undefined) continue;
    if (node.opType === 'QuantizeLinear' && editor.inputs.some((v) => v.name === input)) {
      editor.inputs = editor.inputs.map((v) =>
        v.name === input ? value(output, dtype, dims(input, editor.inputs)) : v,
      );
      editor.remove(node);
    } else if (node.opType === 'DequantizeLinear' && editor.outputs.some((v) => v.name === output)) {
      editor.outputs = editor.outputs.map((v) =>
        v.name === output ? value(input, dtype, dims(output, editor.outputs)) : v,
      );
      editor.remove(node);
    }
  }
  return withGraph(quantized, editor.finish({ prune: true }));
}

/** Ranges do not change how long a kernel takes. */
function withUnitRanges(plan: Plan): Plan {
  const activations = Object.entries(plan.activations).map(([id, a]) => {
    const { low, high } = parseFormat(a.format);
    return [
      id,
      { ...a, scale: [Math.fround(2 / (high - low))], zeroPoint: [Math.round((low + high) / 2)] },
    ] as const;
  });
  return { ...plan, activations: Object.fromEntries(activations) };
}

/** Median time of all kernels of a run, in µs. */
async function timeModel(model: Model, ctx: Context): Promise<number> {
  const folder = mkdtempSync(join(tmpdir(), 'fxq-profile-'));
  try {
    const session = await openSession(model, { threads: ctx.threads, profilePrefix: join(folder, 'run') });
    const feeds = new Map<string, Tensor>(
      session.inputs.map(({ name, dtype, dims }) => {
        assert(dtype !== undefined && dtype !== 'string', `the type of ${name}`);
        return [
          name,
          tensor(
            dtype,
            (dims ?? []).map((d) => (typeof d === 'number' ? d : 1)),
          ),
        ];
      }),
    );
    for (let i = 0; i < WARM_UP + RUNS; i++) await session.run(feeds);
    await session.release();
    const [file = ''] = readdirSync(folder);
    return medianRun(JSON.parse(readFileSync(join(folder, file), 'utf8')) as readonly TraceEvent[]);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

interface TraceEvent {
  readonly cat: string;
  readonly name: string;
  readonly dur: number;
}

/** The trace has the kernels of a run before the run itself. */
function medianRun(events: readonly TraceEvent[]): number {
  const runs: number[] = [];
  let sum = 0;
  for (const { cat, name, dur } of events) {
    if (cat === 'Node' && name.endsWith('_kernel_time')) sum += dur;
    if (name !== 'model_run') continue;
    runs.push(sum);
    sum = 0;
  }
  const measured = runs.slice(WARM_UP).sort((a, b) => a - b);
  return required(measured[Math.floor(measured.length / 2)], 'a measured run');
}
