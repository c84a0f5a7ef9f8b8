/** Sequential moments: every layer sees what the layers before it, already quantized, hand to it. */
import { checkAbort, required, type Context } from '../../core/index.js';
import { openSession, withOutputs, type Batch } from '../../engine/index.js';
import { GraphEditor, graph, value, withGraph, type Graph, type Model, type Node } from '../../onnx/index.js';
import { type Tensor } from '../../tensor/index.js';
import { outputMap } from '../bias.js';
import { findWeightedLayers, layerWeight, type WeightedLayer } from '../layers.js';
import { matrixSize } from '../weight-layout.js';
import { groupOf, type Moments, type Target } from '../problem.js';
import { floatTarget } from '../quadratic.js';
import { requireTapOpset } from './collect.js';
import { PHASE, PHASE_AXES, type RowWeights } from './patches.js';
import { randomPhase, startSums, type Sums } from './sums.js';
import { emitTap, namesOfTap, planPatches } from './tap.js';
import { declare, startWalk, type Walk } from './walk.js';

export interface SequentialOptions {
  /** Rows of X for each column of it. */
  readonly rowsPerColumn: number;
  /** Batches from this one on are held out. */
  readonly fitBatches: number;
  /** A layer whose output is added to a skip path makes up for that path's error, too. */
  readonly absorbSkipError: boolean;
  /** How much each row counts, for every visited layer; all alike when absent. */
  readonly rowWeights?: RowWeights | undefined;
}

/** A layer with the moments a visit works on. */
export interface SeenLayer {
  /** The layer in the quantized graph. */
  readonly layer: WeightedLayer;
  readonly fit: Moments;
  readonly heldOut?: Moments;
}

/** Decides about one layer: the initializers to put in place before it runs on the quantized side. */
export type LayerVisit = (seen: SeenLayer) => Promise<Graph['initializers']>;

/**
 * Visits layers front to back. Each visit's weights are in place before the inputs of the next layer are computed.
 *
 * @param float     the model whose outputs are the targets
 * @param quantized the same nodes, with activations quantized where they will be; weights still float
 * @param names     node names of the layers to visit
 * @returns the quantized model with all weights in place
 */
export async function walkLayers(
  float: Model,
  quantized: Model,
  names: ReadonlySet<string>,
  batches: readonly Batch[],
  options: SequentialOptions,
  ctx: Context,
  visit: LayerVisit,
): Promise<Model> {
  requireTapOpset(float);
  const [exact, lossy] = [startWalk(float, batches, ctx), startWalk(quantized, batches, ctx)];
  const isVisited = (l: WeightedLayer): boolean => names.has(l.node.name) && l.patches.kind !== 'lookup';
  const twins = new Map(findWeightedLayers(float.graph).map((l) => [l.node.name, l]));
  const waiting = new Set(findWeightedLayers(quantized.graph).filter(isVisited));
  const skips = skipFinder(float, quantized);
  const unsolved = (node: Node): boolean => [...waiting].some((l) => l.node === node);
  const progress = ctx.start('Rounding layers front to back', waiting.size);
  for (let done = 1; waiting.size > 0; done++) {
    checkAbort(ctx);
    const layer = nextLayer(waiting, lossy, skips, unsolved);
    const twin = required(twins.get(layer.node.name), `layer ${layer.node.name} of the float model`);
    const inputs = await lossy.compute(layer.input);
    const skip = options.absorbSkipError ? skips(layer) : undefined;
    const usable = skip !== undefined && lossy.reaches(skip.quantized, unsolved) ? skip : undefined;
    const wanted = await wantedOf(exact, lossy, twin.output, usable);
    const seen = await measure(lossy.model, layer, inputs, wanted, options, ctx);
    lossy.setInitializers(await visit(seen));
    waiting.delete(layer);
    exact.release();
    lossy.release();
    progress.update(done, layer.node.name);
  }
  progress.finish();
  return lossy.model;
}

/** The value a layer's output is added to, in both models. */
interface Skip {
  readonly float: string;
  readonly quantized: string;
}

type SkipFinder = (layer: WeightedLayer) => Skip | undefined;

/** Finds the other operand of the addition that ends a layer's branch; additions of constants are passed over. */
function skipFinder(float: Model, quantized: Model): SkipFinder {
  const editor = new GraphEditor(float.graph);
  const layers = new Map(findWeightedLayers(float.graph).map((l) => [l.node.name, l]));
  const twins = new Map(quantized.graph.nodes.map((n) => [n.name, n]));
  return ({ node }) => {
    let at = layers.get(node.name)?.output ?? '';
    for (;;) {
      const add = editor.soleConsumer(at);
      if (add?.opType !== 'Add') return undefined;
      const side = add.inputs[0] === at ? 1 : 0;
      const other = add.inputs[side];
      const twin = twins.get(add.name)?.inputs[side];
      if (other === undefined || twin === undefined) return undefined;
      if (editor.constant(other) === undefined) return { float: other, quantized: twin };
      at = required(add.outputs[0], 'a sum');
    }
  };
}

/** The first layer whose input is solved; one that ends a branch waits until the other branch is solved. */
function nextLayer(
  waiting: ReadonlySet<WeightedLayer>,
  walk: Walk,
  skips: SkipFinder,
  unsolved: (node: Node) => boolean,
): WeightedLayer {
  const ready = [...waiting].filter((l) => walk.reaches(l.input, unsolved));
  const settled = ready.find((l) => {
    const skip = skips(l);
    return skip === undefined || walk.reaches(skip.quantized, unsolved);
  });
  return required(settled ?? ready[0], 'a layer whose inputs are solved');
}

/** What a layer is to give: the float output, plus what the skip path lost. One tensor a batch each. */
interface Wanted {
  readonly output: readonly Tensor[];
  readonly skip?: { readonly wanted: readonly Tensor[]; readonly got: readonly Tensor[] };
}

async function wantedOf(exact: Walk, lossy: Walk, output: string, skip: Skip | undefined): Promise<Wanted> {
  const own = await exact.compute(output);
  if (skip === undefined) return { output: own };
  const [wanted, got] = [await exact.compute(skip.float), await lossy.compute(skip.quantized)];
  const isAlike = own.every((t, b) => t.dims.join() === wanted[b]?.dims.join());
  return isAlike ? { output: own, skip: { wanted, got } } : { output: own };
}

const TARGET = 'fxq_target';
const SKIP_WANTED = 'fxq_skip_wanted';
const SKIP_GOT = 'fxq_skip_got';
const ROOT_WEIGHTS = 'fxq_root_weights';

/** Moments of X̂ and Y of one layer. */
async function measure(
  model: Model,
  layer: WeightedLayer,
  inputs: readonly Tensor[],
  wanted: Wanted,
  options: SequentialOptions,
  ctx: Context,
): Promise<SeenLayer> {
  const samples = inputs.slice(0, options.fitBatches).reduce((sum, t) => sum + (t.dims[0] ?? 1), 0);
  const oneSample = (t: Tensor | undefined): number[] => [1, ...(t?.dims.slice(1) ?? [])];
  const shapes = new Map([
    [layer.input, oneSample(inputs[0])],
    [layer.output, oneSample(wanted.output[0])],
  ]);
  const plan = planPatches(layer, shapes, samples, options.rowsPerColumn);
  const roots = options.rowWeights && required(options.rowWeights.get(layer.node.name), 'row weights');
  const feeds = new Map([
    [layer.input, inputs],
    [TARGET, wanted.output],
    ...(wanted.skip === undefined
      ? []
      : ([
          [SKIP_WANTED, wanted.skip.wanted],
          [SKIP_GOT, wanted.skip.got],
        ] as const)),
    ...(roots === undefined ? [] : [[ROOT_WEIGHTS, roots] as const]),
  ]);
  const declared = [...feeds].map(([name, tensors]) => declare(name, tensors));
  const frame = graph({ inputs: [...declared, value(PHASE, 'int64', [PHASE_AXES])], outputs: [], nodes: [] });
  const editor = new GraphEditor(frame);
  const target =
    wanted.skip === undefined
      ? TARGET
      : editor.emit('Add', [TARGET, editor.emit('Sub', [SKIP_WANTED, SKIP_GOT])]);
  const names = emitTap(editor, plan, {
    target,
    ...(roots === undefined ? {} : { rootWeights: ROOT_WEIGHTS }),
  });
  const tapped = withOutputs(withGraph(model, editor.finish()), namesOfTap(names), true);
  const rng = ctx.rng.fork(`lattice ${layer.weight}`);
  const [fitted, apart] = [startSums(layer), startSums(layer)];
  // One thread: sums over Y are split between threads and would differ in their last bits.
  const session = await openSession(tapped, { threads: 1 });
  try {
    for (let b = 0; b < inputs.length; b++) {
      const run = new Map([...feeds].map(([name, tensors]) => [name, required(tensors[b], name)]));
      run.set(PHASE, randomPhase(rng));
      (b < options.fitBatches ? fitted : apart).add(names, await session.run(run));
    }
  } finally {
    await session.release();
  }
  const fit = withTarget(model.graph, layer, fitted);
  return apart.rows() === 0 ? { layer, fit } : { layer, fit, heldOut: withTarget(model.graph, layer, apart) };
}

/** Moments for Y as the weights alone make it: (output − bias) / gain. */
function withTarget(source: Graph, layer: WeightedLayer, sums: Sums): Moments {
  const inputs = sums.inputs();
  const { rows, cols } = matrixSize(layer.layout);
  const { groups } = layer.layout;
  const map = outputMap(source, layer);
  if (map === undefined) {
    // A computed bias hides what the weights contribute; the weights' own outputs are the target then.
    const weight = layerWeight(source, layer);
    return { ...inputs, target: floatTarget({ rows, cols, groups, weight }, inputs) };
  }
  const { gain, bias } = map;
  const { product, mean, energy } = sums.target();
  const layout = { rows, groups };
  for (let r = 0, at = 0; r < rows; r++) {
    const x = required(inputs.mean[groupOf(layout, r)], 'input means');
    const b = bias[r] as number;
    for (let c = 0; c < cols; c++, at++)
      product[at] = ((product[at] as number) - b * (x[c] as number)) / gain;
  }
  const target: Target = {
    product,
    mean: mean.map((v, r) => (v - (bias[r] as number)) / gain),
    energy: energy.map((v, r) => {
      const b = bias[r] as number;
      return (v - 2 * b * (mean[r] as number) + b * b) / (gain * gain);
    }),
  };
  return { ...inputs, target };
}
