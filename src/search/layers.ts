/** The layers a search decides about, and the ways each may be quantized. */
import { type Model, type TensorType } from '../onnx/index.js';
import { type Plan } from '../plan/index.js';
import { autoSolver, findWeightedLayers, isSparseSolver, type WeightedLayer } from '../solve/index.js';
import { accumulatorBits, countMacs, type CostedLayer, type LayerFormats } from './costs/index.js';

/** A weighted layer with what costs and sensitivity need to know of it. */
export interface SearchLayer extends CostedLayer {
  readonly layer: WeightedLayer;
}

/** One way to quantize a layer. */
export interface LayerCandidate extends LayerFormats {
  readonly solver: string;
}

/**
 * The weighted layers of a prepared model that a plan quantizes.
 *
 * @param sizes sizes of named dimensions, for the work of one sample
 */
export function searchLayers(
  model: Model,
  types: ReadonlyMap<string, TensorType>,
  plan: Pick<Plan, 'nodes'>,
  sizes: Readonly<Record<string, number>> = {},
): SearchLayer[] {
  return findWeightedLayers(model.graph)
    .filter(({ node, weightInput }) => plan.nodes[node.name]?.weights[weightInput] !== undefined)
    .map((layer) => {
      const { out, groups, in: depth, kernel, dims } = layer.layout;
      return {
        layer,
        node: layer.node.name,
        opType: layer.node.opType,
        macs: countMacs(layer.node, { types, sizes }),
        elements: dims.reduce((product, d) => product * d, 1),
        channels: out * groups,
        depth: depth * kernel,
        inputs: depth,
      };
    });
}

/** The choices along each axis of the candidates. */
export interface CandidateAxes {
  readonly weights: readonly string[];
  readonly activations: readonly string[];
  readonly granularity: readonly LayerFormats['granularity'][];
  /** `dense`, or patterns. */
  readonly sparsity: readonly string[];
  /** `auto` is descent below 8 bits and nearest from there on. Those of sparse weights go with patterns (`joint` when none is given), the others with dense candidates. */
  readonly solvers: readonly string[];
  /** Widest sum of products a layer may need, in bits. */
  readonly maxAccumulator?: number;
}

export const DEFAULT_AXES: CandidateAxes = {
  weights: ['int8', 'int4', 'int2'],
  activations: ['uint8'],
  granularity: ['channel'],
  sparsity: ['dense'],
  solvers: ['nearest'],
};

/**
 * All combinations that make sense for a layer: sparse ones only where the pattern is allowed, no formats beside float.
 *
 * @param allowsPattern whether the layer may take a pattern (`sparseEligibility`)
 */
export function candidatesFor(
  layer: SearchLayer,
  axes: CandidateAxes,
  allowsPattern: (node: string, pattern: string) => boolean,
): LayerCandidate[] {
  const all = axes.weights.flatMap((weights) =>
    axes.activations.flatMap((activations) =>
      axes.granularity.flatMap((granularity) =>
        axes.sparsity.flatMap((sparsity) =>
          solversFor(axes, weights, sparsity).map((solver): LayerCandidate => ({
            weights,
            activations,
            granularity,
            ...(sparsity === 'dense' ? {} : { sparsity }),
            solver,
          })),
        ),
      ),
    ),
  );
  const allowed = all.filter(
    (c) =>
      (c.sparsity === undefined || allowsPattern(layer.node, c.sparsity)) &&
      (axes.maxAccumulator === undefined || accumulatorBits(layer, c) <= axes.maxAccumulator),
  );
  return [...new Map(allowed.map(normalizeFloat).map((c) => [candidateId(c), c])).values()];
}

function solversFor({ solvers }: CandidateAxes, weights: string, sparsity: string): readonly string[] {
  if (sparsity === 'dense')
    return solvers
      .filter((name) => !isSparseSolver(name))
      .map((name) => (name !== 'auto' ? name : weights === 'float' ? 'none' : autoSolver(weights)));
  const sparse = solvers.filter(isSparseSolver);
  return sparse.length === 0 ? ['joint'] : sparse;
}

/** A layer with float weights stays float: no granularity, pattern or solver, and inputs that nothing rounds. */
function normalizeFloat(candidate: LayerCandidate): LayerCandidate {
  if (candidate.weights !== 'float') return candidate;
  return { weights: 'float', activations: 'float', granularity: 'tensor', solver: 'none' };
}

/** A short name, unique among candidates: `int4/uint8`, `int4/uint8 2:4 joint`, `int4/uint8 block32`. */
export function candidateId({ weights, activations, granularity, sparsity, solver }: LayerCandidate): string {
  const parts = [`${weights}/${activations}`];
  if (typeof granularity === 'object') parts.push(`block${granularity.block}`);
  else if (granularity === 'tensor' && weights !== 'float') parts.push('tensor');
  if (sparsity !== undefined) parts.push(sparsity);
  if (solver !== 'nearest' && solver !== 'none') parts.push(solver);
  return parts.join(' ');
}
