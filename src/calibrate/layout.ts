/** Shapes of the values to observe, found by running the model on the first samples. */
import { FxqError, didYouMean, type Context } from '../core/index.js';
import { type DataSet } from '../data/index.js';
import { createRunner, openSession, withOutputs, type Session } from '../engine/index.js';
import { GraphEditor, withGraph, type Model } from '../onnx/index.js';
import { toNumbers, type DType } from '../tensor/index.js';

export interface ValueLayout {
  readonly dtype: DType;
  /** Shape for one sample: the first of the data set. */
  readonly dims: readonly number[];
  /** Samples follow each other on the first axis, each taking `dims[0]` of it. */
  readonly batched: boolean;
  /** Axis that layers sum over or have one weight for; undefined for vectors and scalars. */
  readonly channelAxis: number | undefined;
  /** Every sample has as many channels. */
  readonly fixedChannels: boolean;
}

const FLOATS = new Set<DType | 'string' | undefined>(['float32', 'float16', 'bfloat16', 'float64']);

/**
 * Runs the first sample, and the first two together, and reads the shapes of the values.
 *
 * @param names values of the main graph
 * @throws FxqError E_GRAPH for a value the model does not have, E_UNSUPPORTED for one that holds no real numbers
 */
export async function inspectValues(
  model: Model,
  names: readonly string[],
  data: DataSet,
  ctx: Context,
): Promise<Map<string, ValueLayout>> {
  refuseUnknown(model, names);
  const editor = new GraphEditor(model.graph);
  const shapes = names.map((name) => editor.emit('Shape', [name], {}, `${name}_shape`));
  const probed = withOutputs(withGraph(model, editor.finish()), [...names, ...shapes]);
  const session = await openSession(probed, { optimization: 'none', threads: ctx.threads });
  try {
    const types = new Map(session.outputs.map((o) => [o.name, o]));
    const one = await shapesFor(session, data, 1, shapes);
    const two =
      data.samples > 1 && data.batchSize(2) === 2 ? await shapesFor(session, data, 2, shapes) : undefined;
    return new Map(
      names.map((name, i): [string, ValueLayout] => {
        const type = types.get(name);
        const dtype = type?.dtype;
        if (dtype === undefined || dtype === 'string' || !FLOATS.has(dtype)) {
          throw new FxqError(
            'E_UNSUPPORTED',
            `value '${name}' holds ${dtype ?? 'no tensor'}; only real numbers have a range`,
          );
        }
        const dims = one[i] ?? [];
        const channelAxis = channelAxisOf(editor, name, dims.length);
        return [
          name,
          {
            dtype,
            dims,
            batched: two !== undefined && isTwice(dims, two[i] ?? []),
            channelAxis,
            fixedChannels: channelAxis !== undefined && typeof type?.dims?.[channelAxis] === 'number',
          },
        ];
      }),
    );
  } finally {
    await session.release();
  }
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

async function shapesFor(
  session: Session,
  data: DataSet,
  samples: number,
  outputs: readonly string[],
): Promise<number[][]> {
  for await (const batch of data.batches(samples, 0, samples)) {
    const found = await createRunner(session, data.carry).run(batch.inputs, outputs);
    return outputs.map((name) =>
      toNumbers(found.get(name) ?? { dtype: 'int64', dims: [0], data: new BigInt64Array() }),
    );
  }
  throw new FxqError('E_DATA', 'the data set holds no samples', 'Give at least one sample.');
}

function isTwice(one: readonly number[], two: readonly number[]): boolean {
  return (
    one.length > 0 &&
    one.length === two.length &&
    one.every((d, axis) => two[axis] === (axis === 0 ? 2 * d : d))
  );
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
