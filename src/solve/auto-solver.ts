/** What `auto` means for a weight format, where there are data to look at. */
import { parseFormat } from '../formats/index.js';
import { isPower, isSolvable } from './layer-problem.js';
import { type LayerSolver } from './solvers.js';

/** From 8 bits on nearest rounding is as good as anything; on coarser grids errors of the output can be traded. */
export function isWorthSolving(format: string): boolean {
  const { bits, uniform } = parseFormat(format);
  return bits < 8 || !uniform;
}

/** The solver of a weight format. */
export function autoSolver(format: string): LayerSolver | 'nearest' {
  const parsed = parseFormat(format);
  if (!isWorthSolving(format)) return 'nearest';
  if (isPower(parsed)) return 'nupes';
  return isSolvable(parsed) ? 'descent' : 'nearest';
}
