/** Sparse weights as they are written: the pattern verified in the model itself, and packed beside it. */
import { FxqError, required } from '../core/index.js';
import { parseFormat } from '../formats/index.js';
import { type Model } from '../onnx/index.js';
import { type Plan } from '../plan/index.js';
import {
  findWeightedLayers,
  formatPattern,
  packWeight,
  parsePattern,
  verifySparsity,
  type SidecarWeight,
  type SparseLayers,
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
  if (sparse.size === 0) return [];
  await verifyPatterns(model, sparse);
  return findWeightedLayers(solutions.model.graph).flatMap(({ node, weight, layout }) => {
    const choice = sparse.get(node.name);
    if (choice === undefined) return [];
    const { codes, scale } = required(solutions.weights.get(weight), weight);
    const { bits, signed } = parseFormat(required(plan.weights[weight], weight).format);
    return { initializer: weight, packed: packWeight(layout, codes, choice.pattern, bits, signed), scale };
  });
}

async function verifyPatterns(model: Model, sparse: SparseLayers): Promise<void> {
  const byPattern = new Map<string, Set<string>>();
  for (const [node, { pattern }] of sparse) {
    const name = formatPattern(pattern);
    byPattern.set(name, (byPattern.get(name) ?? new Set()).add(node));
  }
  for (const [name, nodes] of byPattern)
    for (const { node, violations, groups } of await verifySparsity(model, parsePattern(name), nodes)) {
      if (violations === 0) continue;
      throw new FxqError(
        'E_GATE',
        `'${node}' breaks the pattern ${name} in ${violations} of ${groups} groups`,
        'This is a bug in fxq; please report it.',
      );
    }
}
