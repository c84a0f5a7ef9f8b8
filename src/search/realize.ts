/** Candidates as numbers: weights as a solver would leave them, grids of inputs as calibration would choose them. */
import { assignRanges, type RangeSettings, type Statistics } from '../calibrate/index.js';
import { FxqError, assert, required, type Context } from '../core/index.js';
import {
  dequantize as valuesOf,
  fitTensor,
  parseFormat,
  quantize,
  byBlock,
  byChannel,
  WHOLE_TENSOR,
  type FitMethod,
  type Grouping,
} from '../formats/index.js';
import { loadTensor, type Model, type TensorType } from '../onnx/index.js';
import {
  isSymmetricWeight,
  planQuantization,
  type Granularity,
  type Plan,
  type PlanSettings,
} from '../plan/index.js';
import {
  dequantize,
  descent,
  floatTarget,
  fromMatrix,
  gptq,
  layerWeight,
  matrixSize,
  parsePattern,
  patternColumns,
  scaleLayout,
  solveSparse,
  type LayerProblem,
  type LayerSolution,
  type SparseSolver,
  type SplitMoments,
  type WeightedLayer,
} from '../solve/index.js';
import { toFloat32 } from '../tensor/index.js';
import { candidateId, type LayerCandidate, type SearchLayer } from './layers.js';
import { type Realize } from './sensitivity/index.js';
import { type ActivationGrid, type Realization } from './simulate.js';

export interface RealizeSettings {
  /** The prepared float model. */
  readonly model: Model;
  readonly types: ReadonlyMap<string, TensorType>;
  /** What candidates do not decide: target, tensor rules, excluded nodes. */
  readonly plan: PlanSettings;
  readonly ranges: RangeSettings;
  /** How scales of weights rounded to nearest are chosen. */
  readonly weightRange: FitMethod;
  /** Needed where a candidate rounds its input. */
  readonly statistics?: Statistics;
  /** Needed where a solver looks at inputs. */
  readonly moments?: ReadonlyMap<WeightedLayer, SplitMoments>;
}

/** Solvers of dense weights that look at the layer's inputs. */
const SOLVERS = { gptq, descent } as const satisfies Record<
  string,
  (problem: LayerProblem) => Promise<LayerSolution>
>;

/** Makes each candidate's numbers once and remembers them. */
export function createRealizer(settings: RealizeSettings, ctx: Context): Realize {
  const weights = new Map<string, Promise<WeightValues>>();
  const plans = new Map<string, Plan>();
  return async (layer, candidate) => {
    const key = `${layer.layer.weight} ${candidateId({ ...candidate, activations: 'float' })}`;
    const weight = weights.get(key) ?? solveWeight(settings, layer, candidate);
    weights.set(key, weight);
    const activation = activationGrid(settings, plans, layer, candidate.activations, ctx);
    return { ...(await weight), ...(activation === undefined ? {} : { activation }) } satisfies Realization;
  };
}

function activationGrid(
  { model, types, plan: settings, statistics, ranges }: RealizeSettings,
  plans: Map<string, Plan>,
  { layer }: SearchLayer,
  format: string,
  ctx: Context,
): ActivationGrid | undefined {
  if (format === 'float' || layer.patches.kind === 'lookup') return undefined;
  const { low, high, integer } = parseFormat(format);
  if (!integer)
    throw new FxqError(
      'E_UNSUPPORTED',
      `a search cannot round activations to ${format}`,
      'Offer integer formats.',
    );
  let plan = plans.get(format);
  if (plan === undefined) {
    assert(statistics !== undefined, 'candidates round activations, but there are no statistics');
    const skeleton = planQuantization(model, types, { ...settings, activations: format });
    plan = assignRanges(skeleton, statistics, ranges, ctx);
    plans.set(format, plan);
  }
  const id = plan.nodes[layer.node.name]?.inputs[layer.node.inputs.indexOf(layer.input)];
  const activation = plan.activations[id ?? ''];
  if (activation === undefined) return undefined;
  const scale = required(activation.scale[0], `the scale of ${id}`);
  return { scale, zeroPoint: activation.zeroPoint[0] ?? 0, low, high };
}

type WeightValues = Pick<Realization, 'weight' | 'solved'>;

async function solveWeight(
  settings: RealizeSettings,
  { layer }: SearchLayer,
  candidate: LayerCandidate,
): Promise<WeightValues> {
  const { weights: format, sparsity, solver } = candidate;
  if (format === 'float') return { weight: floatWeight(settings.model, layer) };
  if (sparsity === undefined && solver === 'nearest') return roundWeight(settings, layer, candidate);
  const problem = problemOf(settings, layer, candidate);
  const solution = await solve(problem, layer, candidate, solver);
  const { index } = scaleLayout(layer.layout, granularityOf(layer.layout, candidate));
  const toTensor = (cells: ArrayLike<number>): number[] => {
    const out: number[] = [];
    index.forEach((to, cell) => (out[to] = cells[cell] as number));
    return out;
  };
  return {
    weight: Float32Array.from(fromMatrix(layer.layout, dequantize(problem, solution))),
    solved: {
      initializer: layer.weight,
      codes: fromMatrix(layer.layout, solution.codes),
      scale: Float32Array.from(toTensor(solution.scale)),
      zeroPoint: Int32Array.from(toTensor(solution.zeroPoint)),
    },
  };
}

function solve(
  problem: LayerProblem,
  { layout }: WeightedLayer,
  { sparsity }: LayerCandidate,
  solver: string,
): Promise<LayerSolution> {
  if (sparsity !== undefined)
    return solveSparse(problem, patternColumns(layout), parsePattern(sparsity), solver as SparseSolver);
  if (Object.hasOwn(SOLVERS, solver)) return SOLVERS[solver as keyof typeof SOLVERS](problem);
  throw new FxqError(
    'E_USAGE',
    `a search cannot use the solver '${solver}'`,
    `Use nearest, ${Object.keys(SOLVERS).join(', ')}.`,
  );
}

function floatWeight(model: Model, layer: WeightedLayer): Float32Array {
  return toFloat32(
    loadTensor(required(model.graph.initializers.get(layer.weight), layer.weight), layer.weight),
  );
}

function roundWeight(
  { model, weightRange }: RealizeSettings,
  layer: WeightedLayer,
  candidate: LayerCandidate,
): WeightValues {
  const values = floatWeight(model, layer);
  const format = parseFormat(candidate.weights);
  const grouping = groupingOf(layer, candidate);
  const symmetric = isSymmetricWeight(candidate.weights);
  const { format: settled, ...fitted } = fitTensor(format, values, grouping, {
    method: weightRange,
    symmetric,
  });
  const quantized = quantize(settled, values, grouping, fitted);
  const chosen = settled.name === format.name ? {} : { format: settled.name };
  return {
    weight: valuesOf(settled, quantized, grouping),
    solved: { initializer: layer.weight, ...chosen, ...quantized },
  };
}

function groupingOf({ layout }: WeightedLayer, candidate: LayerCandidate): Grouping {
  const granularity = granularityOf(layout, candidate);
  if (granularity.kind === 'tensor') return WHOLE_TENSOR;
  if (granularity.kind === 'channel') return byChannel(layout.dims, granularity.axis);
  return byBlock(layout.dims, granularity.axis, granularity.size);
}

function granularityOf(
  { outAxis, inAxis }: WeightedLayer['layout'],
  { granularity }: LayerCandidate,
): Granularity {
  if (granularity === 'tensor') return { kind: 'tensor' };
  if (granularity === 'channel') return { kind: 'channel', axis: outAxis };
  return { kind: 'block', axis: inAxis, size: granularity.block };
}

function problemOf(
  { model, moments }: RealizeSettings,
  layer: WeightedLayer,
  candidate: LayerCandidate,
): LayerProblem {
  const own = moments?.get(layer);
  assert(own !== undefined, `no moments of ${layer.node.name}`);
  const { low, high } = parseFormat(candidate.weights);
  const { groups } = layer.layout;
  const base = {
    name: layer.weight,
    ...matrixSize(layer.layout),
    groups,
    weight: layerWeight(model.graph, layer),
    freeBias: false,
  };
  const targeted = (m: SplitMoments['fit']): LayerProblem['moments'] => ({
    ...m,
    target: floatTarget(base, m),
  });
  return {
    ...base,
    moments: targeted(own.fit),
    ...(own.heldOut === undefined ? {} : { heldOut: targeted(own.heldOut) }),
    grid: { low, high, symmetric: isSymmetricWeight(candidate.weights) },
    sharing: scaleLayout(layer.layout, granularityOf(layer.layout, candidate)).sharing,
  };
}
