/** A model under a pattern, node by node: which layers could keep it, which do, and why the others cannot. */
import { toFloat32 } from '../../tensor/index.js';
import { storeTensor, type Model } from '../../onnx/index.js';
import { findWeightedLayers } from '../layers.js';
import { sparseEligibility } from './eligibility.js';
import { type Pattern } from './pattern.js';
import { constantWeights, countPattern, type PatternCount } from './verify.js';

/** One node with a weight. */
export interface LayerSurvey {
  readonly node: string;
  readonly opType: string;
  /** Why sparse kernels cannot use the pattern here; absent for eligible layers. */
  readonly why?: string;
  /** Groups, violations and density of the values it multiplies; absent where they are no constant matrix. */
  readonly count?: PatternCount;
}

export interface SparsitySurvey {
  /** Share of zeros among the weights of all layers with a constant matrix. */
  readonly zeros: number;
  readonly layers: readonly LayerSurvey[];
}

/** Looks at the values that layers multiply, whatever computes them from constants; the model may be float or QDQ. */
export async function surveySparsity(model: Model, pattern: Pattern): Promise<SparsitySurvey> {
  const weights = await constantWeights(model);
  const initializers = new Map([...weights].map(([name, tensor]) => [name, storeTensor(tensor)]));
  const graph = { ...model.graph, initializers };
  const layers = new Map(findWeightedLayers(graph).map((layer) => [layer.node.name, layer]));
  let [zeros, elements] = [0, 0];
  const surveyed = sparseEligibility(graph, pattern).map(({ node, opType, why }): LayerSurvey => {
    const layer = layers.get(node);
    const values = layer === undefined ? undefined : weights.get(layer.weight);
    const reason = why === undefined ? {} : { why };
    if (layer === undefined || values === undefined) return { node, opType, ...reason };
    const count = countPattern(layer.layout, toFloat32(values), pattern);
    if (layer.patches.kind !== 'lookup') {
      zeros += (1 - count.density) * values.data.length;
      elements += values.data.length;
    }
    return { node, opType, ...reason, count };
  });
  return { zeros: elements === 0 ? 0 : zeros / elements, layers: surveyed };
}
