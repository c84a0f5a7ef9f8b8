/** Sparse solvers by name: a mask by one of several methods, then codes for what is left, or both at once. */
import { cheaperBySet, descend } from '../descent.js';
import { type LayerProblem } from '../problem.js';
import { quadraticOf } from '../quadratic.js';
import {
  JOINT_DEFAULTS,
  jointSparse,
  roundPruned,
  settleSparse,
  startMask,
  type SparseSolution,
} from './joint.js';
import { type Pattern } from './pattern.js';

/** `magnitude`, `wanda` and `sparsegpt` prune first and round then; `joint` does both at once. */
export const SPARSE_SOLVERS = ['joint', 'sparsegpt', 'wanda', 'magnitude'] as const;
export type SparseSolver = (typeof SPARSE_SOLVERS)[number];

/** Whether a name is that of a sparse solver. */
export function isSparseSolver(name: string): name is SparseSolver {
  return (SPARSE_SOLVERS as readonly string[]).includes(name);
}

/**
 * Solves a layer under a pattern. The sequential methods round what their mask leaves by descent: the strongest way that
 * does not touch the mask.
 *
 * @param columns the pattern's column order (`patternColumns`)
 */
export async function solveSparse(
  problem: LayerProblem,
  columns: Int32Array,
  pattern: Pattern,
  solver: SparseSolver,
): Promise<SparseSolution> {
  if (solver === 'joint') return jointSparse(problem, columns, pattern);
  const { damping, scales, refits } = JOINT_DEFAULTS;
  const quadratic = quadraticOf(problem, damping);
  const pruned = startMask(solver, problem, quadratic, columns, pattern);
  const sparse = { ...problem, mask: pruned.mask };
  const found = roundPruned(problem, quadratic, pruned, scales).map((codes) =>
    descend(sparse, quadratic, codes, { refits }),
  );
  const best = found.reduce((a, b) => cheaperBySet(problem, a, b));
  return settleSparse(problem, solver, best);
}
