/** K-means of vectors (Lloyd), from k-means++ and from the best levels of single numbers, whichever does better. */
import { createRng } from '../core/index.js';
import { countBelow, kMeans } from './k-means.js';

/** Vectors, and what an error in each of their numbers counts. */
export interface WeightedVectors {
  /** Numbers of one vector. */
  readonly size: number;
  /** [n × size]. */
  readonly values: Float64Array;
  /** [n × size]; 0 where there is no number. */
  readonly weights: Float64Array;
}

/** Centres with the place of every vector among them, and the error that is left. */
export interface Clusters {
  /** [k × size]. */
  readonly centres: Float64Array;
  readonly nearest: Int32Array;
  /** Σ weight · (number − that of the nearest centre)². */
  readonly error: number;
}

/** Rounds from each start, and from the better one on, at most. */
const FIRST_ROUNDS = 3;
const ROUNDS = 20;

/** Rounds end when they gain less than this share of the error. */
const WORTH_A_ROUND = 1e-3;

/** At most k centres; the same for the same vectors. */
export function vectorKMeans(vectors: WeightedVectors, k: number): Clusters {
  const [first, ...others] = [plusPlus(vectors, k), productOfLevels(vectors, k)].flatMap((start) =>
    start === undefined ? [] : [lloyd(vectors, start, FIRST_ROUNDS)],
  ) as [Clusters, ...Clusters[]];
  const best = others.reduce((a, b) => (b.error < a.error ? b : a), first);
  return lloyd(vectors, best.centres, ROUNDS);
}

/** Centres moved to the means of the vectors nearest to them, round after round; the error never rises. */
export function lloyd(vectors: WeightedVectors, start: Float64Array, rounds: number): Clusters {
  let best = assign(vectors, start);
  for (let round = 0; round < rounds; round++) {
    const next = assign(vectors, means(vectors, best));
    const gain = 1 - next.error / best.error;
    if (gain > 0) best = next;
    if (!(gain > WORTH_A_ROUND)) break;
  }
  return best;
}

/**
 * Every vector's nearest centre, the first of equal ones. Centres in order of their first number are tried outward from
 * the vector's, until that number alone is too far.
 */
export function assign({ size, values, weights }: WeightedVectors, centres: Float64Array): Clusters {
  const nearest = new Int32Array(values.length / size);
  const { order, sorted, firsts } = byFirstNumber(centres, size);
  const [x, w] = [new Float64Array(size), new Float64Array(size)];
  let error = 0;
  for (let i = 0; i < nearest.length; i++) {
    for (let j = 0, from = i * size; j < size; j++, from++) {
      x[j] = values[from] as number;
      w[j] = weights[from] as number;
    }
    const start = countBelow(firsts, x[0] as number);
    let least = Infinity;
    let best = 0;
    for (const [from, to, step] of [
      [start, order.length, 1],
      [start - 1, -1, -1],
    ] as const)
      for (let place = from; place !== to; place += step) {
        let d = (x[0] as number) - (firsts[place] as number);
        let sum = (w[0] as number) * d * d;
        if (sum > least) break;
        for (let j = 1, at = place * size + 1; j < size; j++, at++) {
          d = (x[j] as number) - (sorted[at] as number);
          sum += (w[j] as number) * d * d;
        }
        const k = order[place] as number;
        if (sum > least || (sum === least && k > best)) continue;
        least = sum;
        best = k;
      }
    nearest[i] = best;
    error += least;
  }
  return { centres, nearest, error };
}

function byFirstNumber(
  centres: Float64Array,
  size: number,
): { order: Int32Array; sorted: Float64Array; firsts: Float64Array } {
  const first = (k: number): number => centres[k * size] as number;
  const order = Int32Array.from({ length: centres.length / size }, (_, k) => k).sort(
    (a, b) => first(a) - first(b) || a - b,
  );
  const sorted = new Float64Array(centres.length);
  order.forEach((k, place) => {
    sorted.set(centres.subarray(k * size, (k + 1) * size), place * size);
  });
  return { order, sorted, firsts: Float64Array.from(order, first) };
}

/** Means of clusters, number by number; where nothing counts, the centre stays. */
function means(
  { size, values, weights }: WeightedVectors,
  { centres, nearest }: Pick<Clusters, 'centres' | 'nearest'>,
): Float64Array {
  const sums = new Float64Array(centres.length);
  const total = new Float64Array(centres.length);
  for (let i = 0, at = 0; i < nearest.length; i++)
    for (let j = 0, to = (nearest[i] as number) * size; j < size; j++, at++, to++) {
      const weight = weights[at] as number;
      sums[to] = (sums[to] as number) + weight * (values[at] as number);
      total[to] = (total[to] as number) + weight;
    }
  return sums.map((sum, at) =>
    (total[at] as number) > 0 ? sum / (total[at] as number) : (centres[at] as number),
  );
}

/** Vectors drawn in proportion to their error so far (k-means++, Arthur and Vassilvitskii 2007). */
function plusPlus({ size, values, weights }: WeightedVectors, k: number): Float64Array {
  const n = values.length / size;
  const rng = createRng(0).fork('k-means++');
  const centres: number[] = [];
  const error = new Float64Array(n).fill(1);
  for (let c = 0; c < k; c++) {
    const chosen = draw(error, rng.uniform());
    if (chosen === undefined) break;
    const centre = values.subarray(chosen * size, (chosen + 1) * size);
    centres.push(...centre);
    for (let i = 0, at = 0; i < n; i++) {
      let sum = 0;
      for (let j = 0; j < size; j++, at++) {
        const d = (values[at] as number) - (centre[j] as number);
        sum += (weights[at] as number) * d * d;
      }
      if (c === 0 || sum < (error[i] as number)) error[i] = sum;
    }
  }
  return Float64Array.from(centres);
}

/** An index by chance in proportion to its share; undefined where all are zero. */
function draw(shares: Float64Array, chance: number): number | undefined {
  const total = shares.reduce((sum, share) => sum + share, 0);
  if (!(total > 0)) return undefined;
  let left = chance * total;
  for (let i = 0; i < shares.length; i++) {
    left -= shares[i] as number;
    if (left < 0) return i;
  }
  return shares.findLastIndex((share) => share > 0);
}

/** All vectors of the best levels of single numbers, where k is a power of their count: no worse than those alone. */
function productOfLevels({ size, values, weights }: WeightedVectors, k: number): Float64Array | undefined {
  const count = Math.round(k ** (1 / size));
  if (count ** size !== k || count < 2) return undefined;
  const levels = kMeans(values, weights, count);
  return Float64Array.from({ length: k * size }, (_, at) => {
    const digit = Math.floor(Math.floor(at / size) / count ** (at % size)) % count;
    return levels[Math.min(digit, levels.length - 1)] ?? 0;
  });
}
