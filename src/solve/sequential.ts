/** Sequential solving: every layer sees what the layers before it, already quantized, hand to it. */
import { checkAbort, required, type Context } from '../core/index.js';
import { openSession, withOutputs, type Batch } from '../engine/index.js';
import {
  GraphEditor,
  graph,
  model as createModel,
  value,
  withGraph,
  type Graph,
  type Model,
  type Node,
} from '../onnx/index.js';
import { tensor, type Tensor } from '../tensor/index.js';
import { addTo, emptySums, normalize, phase, planTap, type MomentsOptions } from './collect-moments.js';
import { matrixSize, type WeightedLayer } from './layers.js';
import { emitTap, PHASE } from './moments-graph.js';
import { groupOf, type Moments } from './problem.js';
import { declare, startWalk, type Walk } from './walk.js';

const TARGET = 'fxq_target';

export interface SequentialOptions extends Pick<MomentsOptions, 'rowsPerColumn'> {
  /** Batches from this one on are held out. */
  readonly fitBatches: number;
  /** A layer whose output is added to a skip path makes up for that path's error, too. */
  readonly absorbSkipError: boolean;
}

/** What a visit of a layer decides: initializers to replace before the layer runs on the quantized side. */
export type LayerVisit = (
  layer: WeightedLayer,
  fit: Moments,
  heldOut: Moments | undefined,
) => Promise<Graph['initializers']>;

/** Visits the layers front to back; each visit's weights are in place before the next one's inputs are computed. */
export async function walkLayers(
  model: Model,
  layers: readonly WeightedLayer[],
  batches: readonly Batch[],
  options: SequentialOptions,
  ctx: Context,
  visit: LayerVisit,
): Promise<Model> {
  const float = startWalk(model, batches, ctx);
  const quantized = startWalk(model, batches, ctx);
  const editor = new GraphEditor(model.graph);
  const waiting = new Set(layers.filter((l) => l.patches.kind !== 'lookup'));
  const open = (node: Node): boolean => [...waiting].some((l) => l.node === node);
  while (waiting.size > 0) {
    checkAbort(ctx);
    const ready = [...waiting].filter((l) => quantized.reaches(l.input, open));
    // A layer that ends a branch waits until the other branch is solved.
    const layer =
      ready.find((l) => {
        const skip = skipOperand(editor, l);
        return skip === undefined || quantized.reaches(skip, open);
      }) ?? required(ready[0], 'a layer whose inputs are solved');
    const target = await targetsOf(float, quantized, layer, editor, options.absorbSkipError, open);
    const inputs = await quantized.compute(layer.input);
    const biases = biasOf(quantized.model, layer);
    const { fit, heldOut } = await momentsWithTarget(model, layer, inputs, target, biases, options, ctx);
    quantized.setInitializers(await visit(layer, fit, heldOut));
    waiting.delete(layer);
    float.release();
    quantized.release();
  }
  return quantized.model;
}

/** The other operand of the addition that ends the layer's branch, constant additions passed over. */
function skipOperand(editor: GraphEditor, layer: WeightedLayer): string | undefined {
  let at = layer.output;
  for (;;) {
    const add = editor.soleConsumer(at);
    if (add?.opType !== 'Add') return undefined;
    const other = add.inputs[0] === at ? add.inputs[1] : add.inputs[0];
    if (other === undefined) return undefined;
    if (editor.constant(other) === undefined) return other;
    at = add.outputs[0] as string;
  }
}

/** Y of every batch: the float output, plus what the skip path lost where that is wanted and the shapes agree. */
async function targetsOf(
  float: Walk,
  quantized: Walk,
  layer: WeightedLayer,
  editor: GraphEditor,
  absorb: boolean,
  open: (node: Node) => boolean,
): Promise<readonly Tensor[]> {
  const own = await float.compute(layer.output);
  const skip = absorb ? skipOperand(editor, layer) : undefined;
  if (skip === undefined || !quantized.reaches(skip, open)) return own;
  const [wanted, got] = [await float.compute(skip), await quantized.compute(skip)];
  if (!own.every((t, b) => t.dims.join() === wanted[b]?.dims.join())) return own;
  return own.map((t, b) => {
    const [y, f, q] = [t.data, wanted[b]?.data, got[b]?.data] as [Float32Array, Float32Array, Float32Array];
    return { ...t, data: y.map((v, i) => v + (f[i] as number) - (q[i] as number)) };
  });
}

function biasOf(model: Model, layer: WeightedLayer): Float32Array | undefined {
  const name = layer.node.opType === 'MatMul' ? undefined : layer.node.inputs[2];
  if (name === undefined || name === '') return undefined;
  const bias = new GraphEditor(model.graph).constantTensor(name)?.data as Float32Array | undefined;
  return bias?.length === matrixSize(layer.layout).rows ? bias : undefined;
}

async function momentsWithTarget(
  source: Model,
  layer: WeightedLayer,
  inputs: readonly Tensor[],
  targets: readonly Tensor[],
  bias: Float32Array | undefined,
  options: SequentialOptions,
  ctx: Context,
): Promise<{ fit: Moments; heldOut: Moments | undefined }> {
  const [x, y] = [required(inputs[0], layer.input), required(targets[0], layer.output)];
  const samples = inputs.slice(0, options.fitBatches).reduce((sum, t) => sum + (t.dims[0] ?? 1), 0);
  const perSample = (t: Tensor): number[] => [1, ...t.dims.slice(1)];
  const shapes = new Map([
    [layer.input, perSample(x)],
    [layer.output, perSample(y)],
  ]);
  const tap = { ...planTap(layer, shapes, samples, options.rowsPerColumn), target: TARGET };
  const base = graph({
    inputs: [declare(layer.input, inputs), declare(TARGET, targets), value(PHASE, 'int64', [3])],
    outputs: [],
    nodes: [],
  });
  const editor = new GraphEditor(base);
  const names = emitTap(editor, tap);
  const target = required(names.target, 'target outputs');
  const wanted = [names.gram, names.sum, names.rows, target.product, target.sum, target.energy];
  const tapped = withOutputs(
    withGraph({ ...createModel(base), opsets: source.opsets, irVersion: source.irVersion }, editor.finish()),
    wanted,
    true,
  );
  const session = await openSession(tapped, { threads: ctx.threads });
  const rng = ctx.rng.fork(`lattice ${layer.weight}`);
  const sums = [emptySums(layer), emptySums(layer)] as const;
  try {
    for (let b = 0; b < inputs.length; b++) {
      const results = await session.run({
        [layer.input]: inputs[b] as Tensor,
        [TARGET]: targets[b] as Tensor,
        [PHASE]: phase(rng),
      });
      addTo(sums[b < options.fitBatches ? 0 : 1], names, results);
    }
  } finally {
    await session.release();
  }
  return {
    fit: withoutBias(layer, normalize(layer, sums[0]), bias),
    heldOut: sums[1].rows === 0 ? undefined : withoutBias(layer, normalize(layer, sums[1]), bias),
  };
}

/** Moments of Y − b: YᵀX̂ − b·x̄ᵀ, ȳ − b, mean Y² − 2bȳ + b². */
function withoutBias(layer: WeightedLayer, moments: Moments, bias: Float32Array | undefined): Moments {
  if (bias === undefined) return moments;
  const { rows, cols } = matrixSize(layer.layout);
  const { target } = moments;
  const product = target.product.map((v, i) => {
    const r = Math.floor(i / cols);
    const mean = moments.mean[groupOf({ rows, groups: layer.layout.groups }, r)] as Float64Array;
    return v - (bias[r] as number) * (mean[i % cols] as number);
  });
  const mean = target.mean.map((v, r) => v - (bias[r] as number));
  const energy = target.energy.map((v, r) => {
    const b = bias[r] as number;
    return v - 2 * b * (target.mean[r] as number) + b * b;
  });
  return { ...moments, target: { product, mean, energy } };
}
void tensor;
