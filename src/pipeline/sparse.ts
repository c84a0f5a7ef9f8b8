/** Sparse weights as they are written: the pattern verified in the model itself, and packed beside it. */
import { FxqError, required } from '../core/index.js';
import { parseFormat } from '../formats/index.js';
import { type Model } from '../onnx/index.js';
import { type Plan } from '../plan/index.js';
import {
  findWeightedLayers,
  formatPattern,
  packWeight,
  verifySparsity,
  type SidecarWeight,
} from '../solve/index.js';
import { type LayerSolutions } from './solve-layers.js';

/** `model.int8.onnx` → `model.int8.sparse.safetensors`. */
export function sidecarPath(model: string): string {
  return `${model.replace(/\.onnx$/, '')}.sparse.safetensors`;
}

/**
 * Checks that every sparse layer of the written model keeps the pattern, and packs its codes.
 *
 * @param model     as it will be written; what counts are the values its layers read
 * @param solutions of the layers, with the float model they belong to
 * @throws FxqError E_GATE naming the first layer that does not
 */
export async function packSparse(
  model: Model,
  solutions: LayerSolutions,
  plan: Plan,
): Promise<SidecarWeight[]> {
  const { sparse } = solutions;
  if (sparse === undefined) return [];
  for (const { node, violations, groups } of await verifySparsity(model, sparse.pattern, sparse.nodes)) {
    if (violations === 0) continue;
    throw new FxqError(
      'E_GATE',
      `'${node}' breaks the pattern ${formatPattern(sparse.pattern)} in ${violations} of ${groups} groups`,
      'This is a bug in fxq; please report it.',
    );
  }
  return findWeightedLayers(solutions.model.graph)
    .filter((layer) => sparse.nodes.has(layer.node.name))
    .map(({ weight, layout }) => {
      const { codes, scale } = required(solutions.weights.get(weight), weight);
      const { bits, signed } = parseFormat(required(plan.weights[weight], weight).format);
      return { initializer: weight, packed: packWeight(layout, codes, sparse.pattern, bits, signed), scale };
    });
}
