/**
 * K-means of real numbers, solved exactly: clusters are runs of the sorted numbers, so dynamic programming finds the best
 * (Wang and Song, R Journal 2011). Its rows are filled by divide and conquer, since the best start of the last run never
 * moves down as numbers are added.
 */

/** Numbers beyond this many are merged with their neighbours for the exact search; its answer is then refined on all. */
const EXACT = 4096;

/** Rounds of refinement, at most. */
const ROUNDS = 100;

/** Numbers in ascending order, and sums of weight, weight · number and weight · number² over those before each. */
interface Sorted {
  readonly values: Float64Array;
  readonly weight: Float64Array;
  readonly first: Float64Array;
  readonly second: Float64Array;
}

/**
 * The centres of at most k clusters with the least Σ weight · (value − its centre)², ascending and distinct.
 *
 * @param weights 1 each when absent; what is not positive, and values that are not finite, do not count
 */
export function kMeans(
  values: ArrayLike<number>,
  weights: ArrayLike<number> | undefined,
  k: number,
): Float64Array {
  const pairs = Array.from(values, (value, i): [number, number] => [value, weights?.[i] ?? 1])
    .filter(([value, weight]) => Number.isFinite(value) && weight > 0)
    .sort(([a], [b]) => a - b);
  const all = sumUp(mergeEqual(pairs));
  if (all.values.length <= k) return all.values;
  if (all.values.length <= EXACT) return exactCentres(all, k);
  return refine(all, exactCentres(sumUp(mergeRuns(all, EXACT)), k));
}

/** Equal numbers as one of their joint weight. */
function mergeEqual(pairs: readonly [number, number][]): [number, number][] {
  const merged: [number, number][] = [];
  for (const [value, weight] of pairs) {
    const last = merged.at(-1);
    if (last?.[0] === value) last[1] += weight;
    else merged.push([value, weight]);
  }
  return merged;
}

/** About `most` runs of neighbours, each as its mean. */
function mergeRuns(all: Sorted, most: number): [number, number][] {
  const count = all.values.length;
  return Array.from({ length: most }, (_, i): [number, number] => {
    const [from, to] = [Math.floor((i * count) / most), Math.floor(((i + 1) * count) / most)];
    return [meanOf(all, from, to), (all.weight[to] as number) - (all.weight[from] as number)];
  });
}

function sumUp(pairs: readonly [number, number][]): Sorted {
  const [weight, first, second] = [0, 1, 2].map(() => new Float64Array(pairs.length + 1)) as [
    Float64Array,
    Float64Array,
    Float64Array,
  ];
  pairs.forEach(([value, w], i) => {
    weight[i + 1] = (weight[i] as number) + w;
    first[i + 1] = (first[i] as number) + w * value;
    second[i + 1] = (second[i] as number) + w * value * value;
  });
  return { values: Float64Array.from(pairs, ([value]) => value), weight, first, second };
}

function meanOf({ weight, first }: Sorted, from: number, to: number): number {
  return (
    ((first[to] as number) - (first[from] as number)) / ((weight[to] as number) - (weight[from] as number))
  );
}

/** Squared error of the numbers [from, to) as one cluster. */
function errorOf({ weight, first, second }: Sorted, from: number, to: number): number {
  const sum = (first[to] as number) - (first[from] as number);
  const squares = (second[to] as number) - (second[from] as number);
  return squares - (sum * sum) / ((weight[to] as number) - (weight[from] as number));
}

/** The best k runs, by the least errors of the first n numbers in 1, 2 … k runs. */
function exactCentres(all: Sorted, k: number): Float64Array {
  const n = all.values.length;
  let least: Float64Array = Float64Array.from({ length: n + 1 }, (_, to) =>
    to === 0 ? 0 : errorOf(all, 0, to),
  );
  const starts: Int32Array[] = [];
  for (let runs = 2; runs <= k; runs++) {
    const { error, start } = oneRunMore(all, least, runs);
    least = error;
    starts.push(start);
  }
  const centres = new Float64Array(k);
  for (let run = k - 1, to = n; run >= 0; run--) {
    const from = run === 0 ? 0 : (starts[run - 1]?.[to] as number);
    centres[run] = meanOf(all, from, to);
    to = from;
  }
  return centres;
}

/**
 * Least errors in `runs` runs of the first n numbers, for every n ≥ runs, and where the last run then starts.
 *
 * @param fewer least errors in one run fewer
 */
function oneRunMore(
  all: Sorted,
  fewer: Float64Array,
  runs: number,
): { error: Float64Array; start: Int32Array } {
  const n = all.values.length;
  const error = new Float64Array(n + 1).fill(Infinity);
  const start = new Int32Array(n + 1);
  const fill = (low: number, high: number, lowest: number, highest: number): void => {
    if (low > high) return;
    const to = (low + high) >> 1;
    for (let from = lowest; from <= Math.min(highest, to - 1); from++) {
      const total = (fewer[from] as number) + errorOf(all, from, to);
      if (total >= (error[to] as number)) continue;
      error[to] = total;
      start[to] = from;
    }
    const best = start[to] as number;
    fill(low, to - 1, lowest, best);
    fill(to + 1, high, best, highest);
  };
  fill(runs, n, runs - 1, n - 1);
  return { error, start };
}

/** Centres moved to the means of the numbers nearest to them, until no number changes its cluster (Lloyd). */
function refine(all: Sorted, centres: Float64Array): Float64Array {
  let ends: number[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    const now = Array.from(centres, (centre, i) =>
      countBelow(all.values, (centre + (centres[i + 1] ?? Infinity)) / 2),
    );
    if (now.every((end, i) => end === ends[i])) break;
    ends = now;
    centres = centres.map((centre, i) => {
      const [from, to] = [i === 0 ? 0 : (now[i - 1] as number), now[i] as number];
      return from < to ? meanOf(all, from, to) : centre;
    });
  }
  return centres;
}

/** How many of ascending numbers are below x. */
export function countBelow(values: ArrayLike<number>, x: number): number {
  let from = 0;
  let to = values.length;
  while (from < to) {
    const at = (from + to) >> 1;
    if ((values[at] as number) < x) from = at + 1;
    else to = at;
  }
  return from;
}
