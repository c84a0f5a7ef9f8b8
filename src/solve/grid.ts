/** Codes of a grid around a real number; grids may have gaps. */
import { roundHalfEven } from '../tensor/index.js';
import { type WeightGrid } from './problem.js';

/** `clamp(round(x) + zeroPoint, low, high)`, ties to even; on a grid with gaps the nearest code, the lower one on a tie. */
export function nearestCode(x: number, zeroPoint: number, grid: WeightGrid): number {
  if (grid.levels !== undefined) return nearestLevel(grid.levels, x + zeroPoint);
  const code = roundHalfEven(x) + zeroPoint;
  return code < grid.low ? grid.low : code > grid.high ? grid.high : code;
}

function nearestLevel(levels: readonly number[], x: number): number {
  const above = levelsBelow(levels, x);
  const [low, high] = [levels[above - 1], levels[above]];
  if (low === undefined) return high ?? 0;
  return high === undefined || x - low <= high - x ? low : high;
}

/** How many levels are not above x. */
function levelsBelow(levels: readonly number[], x: number): number {
  let from = 0;
  let to = levels.length;
  while (from < to) {
    const middle = (from + to) >> 1;
    if ((levels[middle] as number) <= x) from = middle + 1;
    else to = middle;
  }
  return from;
}

/** The least distance of two codes. */
export function smallestGap({ levels }: WeightGrid): number {
  if (levels === undefined) return 1;
  let least = Infinity;
  for (let i = 1; i < levels.length; i++)
    least = Math.min(least, (levels[i] as number) - (levels[i - 1] as number));
  return least;
}

/** The code next to another one of the grid, upward (1) or downward (−1); undefined beyond the ends. */
export function nextCode(
  { low, high, levels }: WeightGrid,
  code: number,
  direction: 1 | -1,
): number | undefined {
  if (levels !== undefined) return levels[levelsBelow(levels, code) - 1 + direction];
  const next = code + direction;
  return next < low || next > high ? undefined : next;
}

/** All codes, nearest to `x` first. */
export function* codesByDistance({ low, high, levels }: WeightGrid, x: number): Generator<number> {
  // Positions on the grid: the codes themselves, or their places among the levels.
  const [first, last] = levels === undefined ? [low, high] : [0, levels.length - 1];
  const code = (at: number): number => (levels === undefined ? at : (levels[at] as number));
  let below = Math.min(levels === undefined ? Math.floor(x) : levelsBelow(levels, x) - 1, last);
  let above = Math.max(below + 1, first);
  while (below >= first || above <= last) {
    const down = below >= first && (above > last || x - code(below) <= code(above) - x);
    yield code(down ? below-- : above++);
  }
}
