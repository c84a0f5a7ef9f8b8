/** Biases must fit into int32 at the scale `s_x · s_w`: a lower limit on weight scales. */
import { loadTensor, type Graph } from '../onnx/index.js';
import { toFloat32 } from '../tensor/index.js';
import { type NodePlan, type Plan } from './plan.js';

/** A bias code may take half of int32's range; the other half is for the products added to it. */
const BIAS_LIMIT = 2 ** 30;

/**
 * Adds the least weight scale per channel at which each integer bias stays below 2^30, where an all but dead channel
 * (weights near 0, bias not) would overflow. Weights on such a grid round to 0, which is what they are worth.
 *
 * @param plan with activation scales; weights keep theirs empty
 */
export function guardBiases(plan: Plan, graph: Graph): Plan {
  const weights = { ...plan.weights };
  for (const node of graph.nodes) {
    const nodePlan = plan.nodes[node.name];
    const [name] = nodePlan === undefined ? [] : Object.values(nodePlan.weights);
    const weight = name === undefined ? undefined : weights[name];
    if (nodePlan?.bias === undefined || weight === undefined) continue;
    const biasName = node.inputs[nodePlan.bias] ?? '';
    const stored = graph.initializers.get(biasName);
    if (stored === undefined) continue;
    const inputScale = activationScale(nodePlan, plan);
    const bias = toFloat32(loadTensor(stored, biasName));
    const needed = Array.from(bias, (b) => Math.abs(b) / (BIAS_LIMIT * inputScale));
    const channels = weight.granularity.kind === 'channel' ? needed : [Math.max(0, ...needed)];
    const known = weight.minimumScale ?? [];
    weights[weight.initializer] = {
      ...weight,
      minimumScale: channels.map((scale, c) => Math.max(scale, known[c] ?? 0)),
    };
  }
  return { ...plan, weights };
}

function activationScale(node: NodePlan, plan: Plan): number {
  const id = node.inputs.find((input) => input !== null);
  return (id == null ? undefined : plan.activations[id]?.scale[0]) ?? 1;
}
