/** Which layers may be sparse: those whose products sparse tensor cores compute, and the reason for every other one. */
import { weightSlots, type Graph, type Node } from '../../onnx/index.js';
import { findWeightedLayers, type WeightedLayer } from '../layers.js';
import { formatPattern, type Pattern } from './pattern.js';

/** Operators whose reduction a sparse matrix product computes. */
const SPARSE_OPERATORS = new Set(['Conv', 'Gemm', 'MatMul']);

export type SparseEligibility =
  | {
      readonly node: string;
      readonly opType: string;
      readonly layer: WeightedLayer;
      readonly why?: undefined;
    }
  | { readonly node: string; readonly opType: string; readonly layer?: undefined; readonly why: string };

export interface EligibilityOptions {
  /** Lets the first and the last layer be sparse, too: few weights, much harm. */
  readonly ends: boolean;
}

/** Every node with a weight slot: its layer when it may be sparse, otherwise why not. In graph order. */
export function sparseEligibility(
  graph: Graph,
  pattern: Pattern,
  options: Partial<EligibilityOptions> = {},
): SparseEligibility[] {
  const layers = new Map(findWeightedLayers(graph).map((layer) => [layer.node, layer]));
  const products = [...layers.values()].filter((l) => SPARSE_OPERATORS.has(l.node.opType));
  const ends = options.ends === true ? [] : [products[0], products[products.length - 1]];
  const uses = countUses(graph);
  return graph.nodes.flatMap((node): SparseEligibility[] => {
    if (weightSlots(node).length === 0) return [];
    const { name, opType } = node;
    const layer = layers.get(node);
    const why =
      operatorReason(node) ??
      (layer === undefined
        ? 'its weight is not a constant matrix of float32'
        : layerReason(layer, pattern, uses)) ??
      (layer !== undefined && ends.includes(layer) ? 'the first and the last layer stay dense' : undefined);
    if (why !== undefined || layer === undefined) return [{ node: name, opType, why: why ?? '' }];
    return [{ node: name, opType, layer }];
  });
}

function operatorReason({ opType, domain }: Node): string | undefined {
  if (domain === '' && SPARSE_OPERATORS.has(opType)) return undefined;
  return opType === 'Gather'
    ? 'rows are looked up, nothing is multiplied'
    : `sparse kernels do not compute ${opType}`;
}

function layerReason(
  layer: WeightedLayer,
  pattern: Pattern,
  uses: ReadonlyMap<string, number>,
): string | undefined {
  const { groups, in: depth } = layer.layout;
  if (groups > 1)
    return depth === 1 ? 'it is depthwise: one weight a reduction' : 'its channels are in groups';
  if (depth % pattern.m !== 0)
    return `its ${depth} input channels are no multiple of ${pattern.m} (${formatPattern(pattern)})`;
  if ((uses.get(layer.weight) ?? 0) > 1) return 'its weight is used more than once';
  return undefined;
}

function countUses(graph: Graph): Map<string, number> {
  const uses = new Map<string, number>();
  for (const node of graph.nodes) for (const name of node.inputs) uses.set(name, (uses.get(name) ?? 0) + 1);
  return uses;
}
