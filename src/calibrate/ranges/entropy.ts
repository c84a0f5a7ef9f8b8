/**
 * The range that keeps most information: the threshold at which the distribution, clipped and merged into the grid's
 * levels, diverges least from what it was (after Migacz 2017). Exact zeros are left out: zero is on every grid, and a
 * ReLU's share of zeros would outweigh everything else.
 */
import { type Distribution } from './distribution.js';

/** Equal bins between zero and the largest magnitude. */
export const ENTROPY_BINS = 2048;

/** Thresholds tried are this many bins apart. */
const STRIDE = 4;

/**
 * @param distribution of magnitudes
 * @param levels       levels the grid has for them; at least 2
 * @returns the threshold, at most the largest magnitude
 */
export function entropyThreshold(distribution: Distribution, levels: number): number {
  const { max } = distribution;
  const bins = equalBins(distribution);
  const groups = Math.min(levels, ENTROPY_BINS / 2);
  let best = ENTROPY_BINS;
  let least = divergence(bins, ENTROPY_BINS, groups);
  for (let end = ENTROPY_BINS - STRIDE; end >= groups; end -= STRIDE) {
    const value = divergence(bins, end, groups);
    if (value < least) {
      least = value;
      best = end;
    }
  }
  return (max * best) / ENTROPY_BINS;
}

/** Counts in equal bins from 0 to the largest magnitude, zeros left out. */
function equalBins({ segments, max }: Distribution): Float64Array {
  const bins = new Float64Array(ENTROPY_BINS);
  const perUnit = ENTROPY_BINS / max;
  const last = ENTROPY_BINS - 1;
  for (const { low, high, count } of segments) {
    if (high === 0) continue;
    const from = Math.min(low * perUnit, last);
    const to = Math.max(high * perUnit, from);
    const first = Math.floor(from);
    const final = Math.min(Math.floor(to), last);
    if (final === first) {
      bins[first] = (bins[first] as number) + count;
      continue;
    }
    for (let bin = first; bin <= final; bin++) {
      const overlap = Math.min(bin + 1, to) - Math.max(bin, from);
      bins[bin] = (bins[bin] as number) + (count * Math.max(overlap, 0)) / (to - from);
    }
  }
  return bins;
}

/**
 * KL(P ‖ Q): P is the first `end` bins with everything beyond added to the last one; Q merges the same bins, without
 * what lies beyond, into `groups` groups and spreads each over its non-empty bins.
 */
function divergence(bins: Float64Array, end: number, groups: number): number {
  let beyond = 0;
  for (let i = end; i < bins.length; i++) beyond += bins[i] as number;
  let inside = 0;
  for (let i = 0; i < end; i++) inside += bins[i] as number;
  if (inside === 0) return Infinity;
  const total = inside + beyond;
  let sum = 0;
  for (let group = 0; group < groups; group++) {
    const from = Math.floor((group * end) / groups);
    const to = Math.floor(((group + 1) * end) / groups);
    let mass = 0;
    let filled = 0;
    for (let i = from; i < to; i++) {
      const n = bins[i] as number;
      if (n === 0) continue;
      mass += n;
      filled++;
    }
    for (let i = from; i < to; i++) {
      const n = (bins[i] as number) + (i === end - 1 ? beyond : 0);
      if (n === 0) continue;
      // A bin that only clipping fills has no share in Q; a small one keeps the sum finite.
      const q = (bins[i] as number) === 0 ? SMALLEST_SHARE : mass / filled / inside;
      sum += (n / total) * Math.log(n / total / q);
    }
  }
  return sum;
}

const SMALLEST_SHARE = 1e-9;
