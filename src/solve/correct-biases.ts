/**
 * Bias correction for weights that no solver chose: rounding shifts the mean of a layer's output, and the bias takes the
 * shift back (Nagel et al., arXiv 1906.04721, section 4.2). Solvers correct the biases of their own layers.
 */
import { checkAbort, required, type Context } from '../core/index.js';
import { type Batch } from '../engine/index.js';
import { dequantize } from '../formats/index.js';
import { GraphEditor, everyConstant, storeTensor, type Graph, type Model } from '../onnx/index.js';
import { solvedFormat, type Plan, type SolvedWeight } from '../plan/index.js';
import { tensor, toFloat32, type Tensor } from '../tensor/index.js';
import { biasInitializer, correctedBiases } from './bias.js';
import { findWeightedLayers, layerWeight, type WeightedLayer } from './layers.js';
import { relativeErrors } from './measure.js';
import { collectMoments, fitSamples, MOMENTS_DEFAULTS, type LayerData } from './moments/collect.js';
import { walkLayers } from './moments/sequential.js';
import { withInitializers } from './moments/walk.js';
import { shareScales, type LayerProblem, type Moments } from './problem.js';
import { biasFor, floatTarget } from './quadratic.js';
import { groupingOf } from './round-to-nearest.js';
import { matrixSize, toMatrix } from './weight-layout.js';

/**
 * - `analytic`: b −= (Ŵ − W)·E[x], E[x] of the float model, all layers in one pass over the data
 * - `empirical`: b −= E[ŷ − y], ŷ made from what the quantized layers before hand on, front to back
 */
export const BIAS_CORRECTIONS = ['analytic', 'empirical'] as const;
export type BiasCorrection = (typeof BIAS_CORRECTIONS)[number];

/** Relative errors `‖ŷ − y‖² / ‖y‖²` of a layer's output without and with the correction. */
export interface CorrectionError {
  readonly before: number;
  readonly after: number;
}

/** What was done to one layer. */
export interface BiasReport {
  readonly node: string;
  /** Initializer that took the correction. */
  readonly bias: string;
  /** Root mean square of the correction over the layer's output channels. */
  readonly shift: number;
  readonly fit: CorrectionError;
  /** On samples that the means were not taken from. */
  readonly heldOut?: CorrectionError;
}

export interface BiasResult {
  /** Corrected biases, by initializer. */
  readonly biases: ReadonlyMap<string, Tensor>;
  readonly reports: readonly BiasReport[];
}

/** Means settle early, and front to back every activation of these is kept until its last reader has run. */
const SAMPLES = 128;

/** What a correction starts from. */
export interface BiasTask {
  /** Prepared float model; layers that should take a correction have a bias. */
  readonly model: Model;
  /** The same nodes with activations quantized as planned, float weights, and the biases of solved layers corrected. */
  readonly simulated: Model;
  readonly plan: Plan;
  /** Codes of every quantized weight. */
  readonly weights: ReadonlyMap<string, SolvedWeight>;
  /** Whether a layer may be corrected, by node name. */
  readonly isWanted: (node: string) => boolean;
}

/** Corrects the biases of all wanted layers that have a place for it: one number an output channel, read by nobody else. */
export async function correctBiases(
  task: BiasTask,
  way: BiasCorrection,
  data: LayerData,
  ctx: Context,
): Promise<BiasResult> {
  const { graph } = task.model;
  const editor = new GraphEditor(graph);
  const corrector = createCorrector(task, ctx);
  const layers = findWeightedLayers(graph).filter(
    (l) => task.weights.has(l.weight) && l.patches.kind !== 'lookup',
  );
  const wanted = layers.filter((l) => task.isWanted(l.node.name) && biasInitializer(editor, l) !== undefined);
  if (wanted.length === 0) return corrector.result();
  if (way === 'analytic') {
    const moments = await collectMoments(task.model, wanted, data, ctx, { samples: SAMPLES });
    for (const layer of wanted) {
      const { fit, heldOut } = required(moments.get(layer), layer.weight);
      const shape = {
        ...matrixSize(layer.layout),
        groups: layer.layout.groups,
        weight: layerWeight(graph, layer),
      };
      const withTarget = (m: typeof fit): Moments => ({ ...m, target: floatTarget(shape, m) });
      await corrector.correct(layer, withTarget(fit), heldOut && withTarget(heldOut));
    }
    return corrector.result();
  }
  await correctFrontToBack(task, layers, wanted, corrector, data, ctx);
  return corrector.result();
}

async function correctFrontToBack(
  task: BiasTask,
  layers: readonly WeightedLayer[],
  wanted: readonly WeightedLayer[],
  corrector: Corrector,
  data: LayerData,
  ctx: Context,
): Promise<void> {
  const { batch, rowsPerColumn, heldOut } = MOMENTS_DEFAULTS;
  const samples = Math.min(data.samples, SAMPLES);
  const fit = fitSamples(samples, heldOut);
  const batches: Batch[] = [];
  let fitBatches = 0;
  for await (const b of data.batches(batch, 0, fit)) fitBatches = batches.push(b);
  for await (const b of data.batches(batch, fit, samples)) batches.push(b);
  const twins = new Map(wanted.map((l) => [l.node.name, l]));
  // Weights the walk does not visit (lookups, recurrent ones) are in place from the start.
  const visited = new Set(layers.map((l) => l.weight));
  const others = [...task.weights.keys()].filter((name) => !visited.has(name));
  const simulated = withInitializers(
    task.simulated,
    new Map(
      others.flatMap((name) =>
        task.simulated.graph.initializers.has(name) ? [[name, storeTensor(realTensor(task, name))]] : [],
      ),
    ),
  );
  await walkLayers(
    task.model,
    simulated,
    new Set(layers.map((l) => l.node.name)),
    batches,
    { rowsPerColumn, fitBatches, absorbSkipError: true },
    ctx,
    async (seen) => {
      checkAbort(ctx);
      const placed = new Map([[seen.layer.weight, storeTensor(realTensor(task, seen.layer.weight))]]);
      const layer = twins.get(seen.layer.node.name);
      if (layer === undefined) return placed;
      return new Map([...placed, ...(await corrector.correct(layer, seen.fit, seen.heldOut))]);
    },
  );
}

interface Corrector {
  /** Corrects one layer; returns its bias as it is now. */
  correct(layer: WeightedLayer, fit: Moments, heldOut: Moments | undefined): Promise<Graph['initializers']>;
  result(): BiasResult;
}

function createCorrector(task: BiasTask, ctx: Context): Corrector {
  const { graph } = task.model;
  const editor = new GraphEditor(graph);
  const biases = new Map<string, Tensor>();
  const reports: BiasReport[] = [];
  return {
    async correct(layer, fit, heldOut) {
      checkAbort(ctx);
      const name = required(biasInitializer(editor, layer), `the bias of ${layer.node.name}`);
      const problem = asProblem(graph, layer, fit);
      const values = Float64Array.from(toMatrix(layer.layout, toFloat32(realTensor(task, layer.weight))));
      const bias = biasFor(problem, values);
      const measure = async (moments: Moments): Promise<CorrectionError> => {
        const [before = 0, after = 0] = await relativeErrors(problem, moments, [
          { values },
          { values, bias },
        ]);
        return { before, after };
      };
      const placed = correctedBiases(graph, new Map([[name, bias]]));
      for (const [initializer, t] of placed) biases.set(initializer, t);
      reports.push({
        node: layer.node.name,
        bias: name,
        shift: Math.sqrt(bias.reduce((sum, b) => sum + b * b, 0) / Math.max(bias.length, 1)),
        fit: await measure(fit),
        ...(heldOut === undefined ? {} : { heldOut: await measure(heldOut) }),
      });
      return new Map([...placed].map(([initializer, t]) => [initializer, storeTensor(t)]));
    },
    result: () => ({ biases, reports }),
  };
}

/** The layer as the lens of solvers; its grid plays no part here. */
function asProblem(graph: Graph, layer: WeightedLayer, moments: Moments): LayerProblem {
  const { rows, cols } = matrixSize(layer.layout);
  return {
    name: layer.weight,
    rows,
    cols,
    groups: layer.layout.groups,
    weight: layerWeight(graph, layer),
    moments,
    freeBias: true,
    grid: { low: 0, high: 0, symmetric: true },
    sharing: shareScales(rows, cols, 'tensor'),
  };
}

/** What a quantized weight is worth, in the initializer's order. */
function realTensor({ model, plan, weights }: BiasTask, initializer: string): Tensor {
  const solved = required(weights.get(initializer), `codes of ${initializer}`);
  const planned = required(plan.weights[initializer], initializer);
  const { dims } = required(everyConstant(model.graph).get(initializer), `initializer ${initializer}`);
  const grouping = groupingOf(planned.granularity, dims);
  const values = dequantize(solvedFormat(planned, solved), solved, grouping);
  return tensor('float32', dims, values);
}
