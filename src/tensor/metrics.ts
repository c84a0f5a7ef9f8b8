/** Distances between tensors and label-based scores. Sums run in float64. */

/** Sums from which SQNR, cosine and relative error follow; adds over batches. */
export interface ErrorSums {
  /** Σ a² */ readonly signal: number;
  /** Σ (a − b)² */ readonly noise: number;
  /** Σ b² */ readonly other: number;
  /** Σ a·b */ readonly product: number;
  readonly count: number;
}

export const NO_ERROR: ErrorSums = { signal: 0, noise: 0, other: 0, product: 0, count: 0 };

/** Accumulates the sums of reference `a` against `b`. */
export function errorSums(
  a: ArrayLike<number>,
  b: ArrayLike<number>,
  start: ErrorSums = NO_ERROR,
): ErrorSums {
  let { signal, noise, other, product } = start;
  for (let i = 0; i < a.length; i++) {
    const x = a[i] as number;
    const y = b[i] as number;
    const d = x - y;
    signal += x * x;
    noise += d * d;
    other += y * y;
    product += x * y;
  }
  return { signal, noise, other, product, count: start.count + a.length };
}

/** Signal-to-quantization-noise ratio in dB; Infinity when the tensors are equal. */
export function sqnr(s: ErrorSums): number {
  return s.noise === 0 ? Infinity : 10 * Math.log10(s.signal / s.noise);
}

/** Cosine similarity; 1 for two zero tensors. */
export function cosine(s: ErrorSums): number {
  const norm = Math.sqrt(s.signal * s.other);
  return norm === 0 ? (s.signal === s.other ? 1 : 0) : s.product / norm;
}

/** Mean squared error relative to the reference's mean square. */
export function relativeError(s: ErrorSums): number {
  return s.signal === 0 ? (s.noise === 0 ? 0 : Infinity) : s.noise / s.signal;
}

/** Softmax of one row, in float64. */
export function softmax(row: ArrayLike<number>): Float64Array {
  let top = -Infinity;
  for (let i = 0; i < row.length; i++) top = Math.max(top, row[i] as number);
  const out = new Float64Array(row.length);
  let sum = 0;
  for (let i = 0; i < row.length; i++) sum += out[i] = Math.exp((row[i] as number) - top);
  for (let i = 0; i < row.length; i++) out[i] = (out[i] as number) / sum;
  return out;
}

/** KL(p ‖ q) in nats of two distributions; q is floored at 1e-12 so that one empty bin does not hide the rest. */
export function klDivergence(p: ArrayLike<number>, q: ArrayLike<number>): number {
  let sum = 0;
  for (let i = 0; i < p.length; i++) {
    const pi = p[i] as number;
    if (pi > 0) sum += pi * Math.log(pi / Math.max(q[i] as number, 1e-12));
  }
  return Math.max(sum, 0);
}

/** Index of the largest element; the first one on ties. */
export function argmax(row: ArrayLike<number>): number {
  let best = 0;
  for (let i = 1; i < row.length; i++) if ((row[i] as number) > (row[best] as number)) best = i;
  return best;
}

/** Whether `label` is among the `k` largest elements (ties broken by index). */
export function inTopK(row: ArrayLike<number>, label: number, k: number): boolean {
  const value = row[label];
  if (value === undefined) return false;
  let above = 0;
  for (let i = 0; i < row.length; i++) {
    const other = row[i] as number;
    if (other > value || (other === value && i < label)) above++;
  }
  return above < k;
}

/** Area under the ROC curve by rank sums; ties count one half. `positive[i]` says whether sample i is positive. */
export function areaUnderCurve(scores: ArrayLike<number>, positive: ArrayLike<boolean | number>): number {
  const order = Array.from({ length: scores.length }, (_, i) => i).sort(
    (a, b) => (scores[a] as number) - (scores[b] as number),
  );
  let rankSum = 0;
  let positives = 0;
  for (let i = 0; i < order.length;) {
    let j = i;
    while (j < order.length && scores[order[j] as number] === scores[order[i] as number]) j++;
    const rank = (i + 1 + j) / 2;
    for (; i < j; i++) {
      if (positive[order[i] as number]) {
        rankSum += rank;
        positives++;
      }
    }
  }
  const negatives = scores.length - positives;
  return positives === 0 || negatives === 0
    ? NaN
    : (rankSum - (positives * (positives + 1)) / 2) / (positives * negatives);
}
