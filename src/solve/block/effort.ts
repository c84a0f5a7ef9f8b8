/** How much work block reconstruction does, by effort. */
import { type Effort } from '../solvers.js';
import { type Rounding } from './learned-weight.js';
import { type BlockOptions } from './solve-blocks.js';

const COMMON: Omit<BlockOptions, 'iterations' | 'rate'> = {
  rounding: 'soft',
  scaleRate: 3e-3,
  biasRate: 3e-2,
  penalty: 20,
  warmUp: 0,
  drop: 0.5,
  join: 4,
  batch: 32,
  importance: true,
  floor: 0.1,
};

const RATES: Readonly<Record<Rounding, number>> = { soft: 0.01, sign: 3e-4, none: 0 };

const ITERATIONS: Readonly<Record<Effort, number>> = { fast: 200, balanced: 800, best: 3000 };

/** Options of an effort, with changes. */
export function blockOptions(effort: Effort, changes: Partial<BlockOptions> = {}): BlockOptions {
  const rate = RATES[changes.rounding ?? COMMON.rounding];
  return { ...COMMON, rate, iterations: ITERATIONS[effort], ...changes };
}
