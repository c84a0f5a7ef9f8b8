/** Descent in binary points: Adam through rounded points, then single and joint steps that are kept where they help. */

/** The points of a block in one row of numbers. */
export type PointVector = Float64Array;

export interface PointObjective {
  /** Loss at integer points. */
  loss(points: PointVector): Promise<number>;
  /** Loss and its straight-through derivatives at integer points. */
  slope(points: PointVector): Promise<{ readonly loss: number; readonly slope: ArrayLike<number> }>;
}

export interface DescendPointsOptions {
  /** Adam's steps, and their size in units of F. */
  readonly steps: number;
  readonly rate: number;
  /** Rounds of trying what the derivatives suggest, point by point. */
  readonly sweeps: number;
}

/** The best points seen, and the loss of the first and of the best. */
export interface Descended {
  readonly points: PointVector;
  readonly before: number;
  readonly after: number;
}

/** Descends from integer points; the result is never worse than the start. */
export async function descendPoints(
  start: PointVector,
  objective: PointObjective,
  options: DescendPointsOptions,
): Promise<Descended> {
  const { best, before } =
    options.steps > 0 ? await adamDescent(start, objective, options) : await stay(start, objective);
  let { points, loss } = best;
  for (let i = 0; i < options.sweeps; i++) {
    const swept = await sweep(points, loss, objective);
    if (swept.loss >= loss) break;
    ({ points, loss } = swept);
  }
  return { points, before, after: loss };
}

async function stay(
  points: PointVector,
  objective: PointObjective,
): Promise<{ best: Iterate; before: number }> {
  const loss = await objective.loss(points);
  return { best: { points, loss }, before: loss };
}

interface Iterate {
  readonly points: PointVector;
  readonly loss: number;
}

/**
 * Adam on real points; loss and derivatives are those at the nearest integers, so they are computed once for each of
 * these. The last iterate swings between neighbours, so the best one is kept.
 */
async function adamDescent(
  start: PointVector,
  objective: PointObjective,
  { steps, rate }: DescendPointsOptions,
): Promise<{ best: Iterate; before: number }> {
  const f = Float64Array.from(start);
  const [mean, square] = [new Float64Array(f.length), new Float64Array(f.length)];
  let points = start;
  let at = await objective.slope(points);
  const before = at.loss;
  let best: Iterate = { points, loss: before };
  for (let step = 1; step <= steps; step++) {
    for (let i = 0; i < f.length; i++) {
      const g = at.slope[i] as number;
      const m = 0.9 * (mean[i] as number) + 0.1 * g;
      const v = 0.999 * (square[i] as number) + 0.001 * g * g;
      [mean[i], square[i]] = [m, v];
      const direction = m / (1 - 0.9 ** step) / (Math.sqrt(v / (1 - 0.999 ** step)) + 1e-20);
      f[i] = (f[i] as number) - rate * direction;
    }
    const rounded = f.map(Math.round);
    if (rounded.every((p, i) => p === points[i])) continue;
    points = rounded;
    at = await objective.slope(points);
    if (at.loss < best.loss) best = { points, loss: at.loss };
  }
  return { best, before };
}

/** Points that are moved together before they are tried apart. */
const TOGETHER = 8;

/** Points of one sweep, at most. */
const MOST_TRIED = 256;

/** A step must gain more than this share of the loss, so that rounding errors of the loss decide nothing. */
const LEAST_GAIN = 1e-6;

/** Moves every point by one in the direction its derivative suggests, steepest first, as long as that pays. */
async function sweep(points: PointVector, loss: number, objective: PointObjective): Promise<Iterate> {
  const { slope } = await objective.slope(points);
  const order = Array.from(points, (_, i) => i)
    .filter((i) => slope[i] !== 0)
    .sort((a, b) => Math.abs(slope[b] as number) - Math.abs(slope[a] as number) || a - b)
    .slice(0, MOST_TRIED);
  let best: Iterate = { points, loss };
  const attempt = async (moved: readonly number[]): Promise<void> => {
    const trial = Float64Array.from(best.points);
    for (const i of moved) trial[i] = (trial[i] as number) - Math.sign(slope[i] as number);
    const reached = await objective.loss(trial);
    if (reached < best.loss * (1 - LEAST_GAIN)) {
      best = { points: trial, loss: reached };
      return;
    }
    if (moved.length === 1) return;
    const half = moved.length >> 1;
    await attempt(moved.slice(0, half));
    await attempt(moved.slice(half));
  };
  for (let from = 0; from < order.length; from += TOGETHER) await attempt(order.slice(from, from + TOGETHER));
  return best;
}
