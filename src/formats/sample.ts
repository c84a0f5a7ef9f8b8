/** Values a format is fitted to: an array, or a histogram as bin centres with counts. */

export interface Sample {
  readonly values: ArrayLike<number>;
  /** How often each value occurs; 1 when absent. */
  readonly counts?: ArrayLike<number>;
}

/** Smallest and largest value that occurs; both 0 for an empty sample. NaN and infinities are skipped. */
export function sampleRange({ values, counts }: Sample): { low: number; high: number } {
  let low = Infinity;
  let high = -Infinity;
  for (let i = 0; i < values.length; i++) {
    const value = values[i] as number;
    if (!Number.isFinite(value) || counts?.[i] === 0) continue;
    if (value < low) low = value;
    if (value > high) high = value;
  }
  return low > high ? { low: 0, high: 0 } : { low, high };
}

/** Largest magnitude that occurs. */
export function sampleAbsmax(sample: Sample): number {
  const { low, high } = sampleRange(sample);
  return Math.max(-low, high);
}
