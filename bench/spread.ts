/** Repeated figures in one cell of a table. */

/** Decimals that tell figures of a metric apart. */
export function decimalsOf(metric: string | undefined): number {
  return metric === 'perplexity' ? 3 : 2;
}

/** `80.95 (80.71 to 81.12)`: mean, least and most; one figure alone. */
export function spread(figures: readonly number[], decimals = 2): string {
  const mean = figures.reduce((sum, v) => sum + v, 0) / figures.length;
  const text = mean.toFixed(decimals);
  if (figures.length === 1) return text;
  return `${text} (${Math.min(...figures).toFixed(decimals)} to ${Math.max(...figures).toFixed(decimals)})`;
}
