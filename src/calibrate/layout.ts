/** Shapes of the values to observe, from the runtime's shape inference for the data's own input shapes. */
import { FxqError, didYouMean } from '../core/index.js';
import { type DataSet } from '../data/index.js';
import { openSession, withOutputs, type Batch, type SessionValue } from '../engine/index.js';
import { GraphEditor, value, withGraph, type Model, type ValueInfo } from '../onnx/index.js';
import { type DType } from '../tensor/index.js';

export interface ValueLayout {
  readonly dtype: DType;
  /** Shape for one sample, the first of the data set; undefined when it cannot be told in advance. */
  readonly dims: readonly number[] | undefined;
  /** Samples follow each other on the first axis, each taking `dims[0]` of it. */
  readonly batched: boolean;
  /** Axis that layers sum over or have one weight for; undefined for vectors and scalars. */
  readonly channelAxis: number | undefined;
  /** Every sample has as many channels. */
  readonly fixedChannels: boolean;
}

const FLOATS = new Set<DType | 'string' | undefined>(['float32', 'float16', 'bfloat16', 'float64']);

/**
 * Tells how values lie in memory, for one sample and for several.
 *
 * @param names values of the main graph
 * @throws FxqError E_GRAPH for a value the model does not have, E_UNSUPPORTED for one that holds no real numbers
 */
export async function inspectValues(
  model: Model,
  names: readonly string[],
  data: DataSet,
): Promise<Map<string, ValueLayout>> {
  refuseUnknown(model, names);
  const one = await inferFor(model, names, data, 1);
  const two = data.samples > 1 && data.batchSize(2) === 2 ? await inferFor(model, names, data, 2) : undefined;
  const any = data.varying ? await infer(model, names) : one;
  const editor = new GraphEditor(model.graph);
  return new Map(
    names.map((name): [string, ValueLayout] => {
      const { dtype, dims } = one.get(name) ?? {};
      if (dtype === undefined || dtype === 'string' || !FLOATS.has(dtype)) {
        throw new FxqError(
          'E_UNSUPPORTED',
          `value '${name}' holds ${dtype ?? 'no tensor'}; only real numbers have a range`,
        );
      }
      const channelAxis = channelAxisOf(editor, name, dims?.length ?? 0);
      const layout = {
        dtype,
        dims: known(dims),
        batched: isTwice(known(dims), known(two?.get(name)?.dims)),
        channelAxis,
        fixedChannels: channelAxis !== undefined && typeof any.get(name)?.dims?.[channelAxis] === 'number',
      };
      return [name, layout];
    }),
  );
}

/** Types of values when some samples are fed. */
async function inferFor(
  model: Model,
  names: readonly string[],
  data: DataSet,
  samples: number,
): Promise<Map<string, SessionValue>> {
  for await (const { inputs } of data.batches(samples, 0, samples)) return infer(model, names, inputs);
  throw new FxqError('E_DATA', 'the data set holds no samples', 'Give at least one sample.');
}

/** Types of values by the runtime's shape inference, with inputs declared as they are fed. */
async function infer(
  model: Model,
  names: readonly string[],
  feeds: Batch['inputs'] = new Map(),
): Promise<Map<string, SessionValue>> {
  const declare = (input: ValueInfo): ValueInfo => {
    const fed = feeds.get(input.name);
    return fed === undefined ? input : value(input.name, fed.dtype, fed.dims);
  };
  const graph = {
    ...model.graph,
    inputs: model.graph.inputs.map(declare),
    outputs: [],
    valueInfo: new Map(),
  };
  const session = await openSession(withOutputs(withGraph(model, graph), names, true), {
    optimization: 'none',
    threads: 1,
  });
  await session.release();
  return new Map(session.outputs.map((output) => [output.name, output]));
}

type Dims = SessionValue['dims'];

/** A shape without unknown sizes. The runtime gives an empty one for scalars and unknown ranks alike. */
function known(dims: Dims): readonly number[] | undefined {
  const numbers = dims?.filter((d) => typeof d === 'number') ?? [];
  return dims === undefined || dims.length === 0 || numbers.length < dims.length ? undefined : numbers;
}

function refuseUnknown(model: Model, names: readonly string[]): void {
  const { graph } = model;
  const known = new Set([...graph.inputs.map((v) => v.name), ...graph.nodes.flatMap((n) => n.outputs)]);
  const unknown = names.find((name) => !known.has(name));
  if (unknown === undefined) return;
  throw new FxqError(
    'E_GRAPH',
    `the model has no value '${unknown}' outside its subgraphs`,
    didYouMean(unknown, known),
  );
}

function isTwice(one: readonly number[] | undefined, two: readonly number[] | undefined): boolean {
  if (one === undefined || one.length !== two?.length) return false;
  return one.every((d, axis) => two[axis] === (axis === 0 ? 2 * d : d));
}

/** Operators whose data have channels on axis 1. */
const CHANNELS_SECOND = new Set([
  'AveragePool',
  'BatchNormalization',
  'Conv',
  'ConvTranspose',
  'GlobalAveragePool',
  'GlobalMaxPool',
  'InstanceNormalization',
  'MaxPool',
]);

/** Operators whose data have channels on the last axis. */
const CHANNELS_LAST = new Set(['Gemm', 'LayerNormalization', 'MatMul', 'Softmax']);

/** The channel axis by what reads the value, else by what made it, else by its rank. */
function channelAxisOf(editor: GraphEditor, value: string, rank: number): number | undefined {
  if (rank < 2) return undefined;
  const neighbours = [...editor.consumers(value), editor.producer(value)];
  for (const node of neighbours) {
    if (node === undefined) continue;
    if (CHANNELS_SECOND.has(node.opType)) return 1;
    if (node.opType === 'MatMul' && node.inputs[1] === value) return rank - 2;
    if (CHANNELS_LAST.has(node.opType)) return rank - 1;
  }
  return rank > 3 ? 1 : rank - 1;
}
