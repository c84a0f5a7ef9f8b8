/** How much work block reconstruction does, by effort. */
import { type Effort } from '../solvers.js';
import { type BlockOptions } from './solve-blocks.js';

const COMMON: Omit<BlockOptions, 'iterations'> = {
  rounding: 'soft',
  rate: 0.02,
  scaleRate: 1e-4,
  biasRate: 1e-3,
  penalty: 0.5,
  warmUp: 0.2,
  drop: 0.5,
  join: 4,
  batch: 32,
  importance: true,
  floor: 0.1,
};

const ITERATIONS: Readonly<Record<Effort, number>> = { fast: 200, balanced: 800, best: 3000 };

/** Options of an effort, with changes. */
export function blockOptions(effort: Effort, changes: Partial<BlockOptions> = {}): BlockOptions {
  return { ...COMMON, iterations: ITERATIONS[effort], ...changes };
}
