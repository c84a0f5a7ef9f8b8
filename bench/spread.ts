/** Repeated figures in one cell of a table. */

/** `80.95 (80.71 to 81.12)`: mean, least and most; one figure alone. */
export function spread(figures: readonly number[]): string {
  const mean = figures.reduce((sum, v) => sum + v, 0) / figures.length;
  const text = mean.toFixed(2);
  if (figures.length === 1) return text;
  return `${text} (${Math.min(...figures).toFixed(2)} to ${Math.max(...figures).toFixed(2)})`;
}
