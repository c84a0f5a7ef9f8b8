/** N:M patterns in the weights a model multiplies, for the report and for gates such as `2:4 == 100 %`. */
import { FxqError } from '../core/index.js';
import { type Model } from '../onnx/index.js';
import { formatPattern, parsePattern, surveySparsity } from '../solve/index.js';
import { type SparsityResult } from './result.js';

/** A pattern as the first word of a quantity. */
const PATTERN = /^\d+:\d+(\/\d+)?$/;

/** Whether a quantity's first word speaks of sparsity: `sparsity`, or a pattern. */
export function isSparsity(word: string): boolean {
  return word === 'sparsity' || PATTERN.test(word);
}

/** Patterns that some quantities ask about; `sparsity` alone asks about zeros, which any pattern shows. */
export function patternsAskedFor(quantities: readonly string[]): string[] {
  const words = quantities.map((quantity) => quantity.split('.')[0] ?? '').filter(isSparsity);
  const patterns = words
    .filter((word) => word !== 'sparsity')
    .map((word) => formatPattern(parsePattern(word)));
  return patterns.length === 0 && words.length > 0 ? ['2:4'] : patterns;
}

/**
 * Looks at every node with a weight under each pattern.
 *
 * @param asked patterns that gates are about
 * @param packed patterns of the packed weights beside the model, looked at where the model's form shows them
 * @throws FxqError E_UNSUPPORTED for gates on a model in whose form weights are no constant matrices
 */
export async function measurePatterns(
  model: Model,
  asked: readonly string[],
  packed: readonly string[] = [],
): Promise<SparsityResult[]> {
  const results: SparsityResult[] = [];
  for (const pattern of new Set([...asked, ...packed])) {
    const { zeros, layers } = await surveySparsity(model, parsePattern(pattern));
    if (!layers.some((layer) => layer.count !== undefined)) {
      if (asked.length === 0) return [];
      throw new FxqError(
        'E_UNSUPPORTED',
        'no layer of the quantized model multiplies by a constant float matrix, so there is no pattern to look at',
        'Patterns are seen in models written as QDQ (--emit qdq, the default).',
      );
    }
    results.push({
      pattern,
      zeros: 100 * zeros,
      layers: layers.map(({ node, opType, why, count }) => ({
        node,
        opType,
        keeps: count !== undefined && count.violations === 0,
        ...(why === undefined ? {} : { why }),
        ...(count === undefined
          ? {}
          : { groups: count.groups, violations: count.violations, zeros: 100 * (1 - count.density) }),
      })),
    });
  }
  return results;
}
