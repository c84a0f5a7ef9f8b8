/** The metrics of a report, and gates that speak of what is not measured. */
import { FxqError, didYouMean } from '../core/index.js';
import { type ReportSettings } from '../config/index.js';
import { isSparsity, loadMetric, type Metric } from '../report/index.js';

/**
 * The metrics asked for; labels without a metric ask for top-1.
 *
 * @throws FxqError E_USAGE for a metric that needs labels where there are none, or has the name of something else
 */
export async function loadMetrics({ metrics, labels }: ReportSettings): Promise<Metric[]> {
  const names = metrics.length === 0 && labels !== undefined ? ['top1'] : metrics;
  const loaded = await Promise.all(names.map(loadMetric));
  const unlabelled = loaded.find((metric) => metric.needsLabels);
  if (labels === undefined && unlabelled !== undefined) {
    throw new FxqError(
      'E_USAGE',
      `the metric ${unlabelled.name} needs labels`,
      'Give them with --labels FILE.',
    );
  }
  const taken = loaded.find((metric, i) => SECTIONS.includes(metric.name) || names.indexOf(metric.name) > i);
  if (taken !== undefined)
    throw new FxqError(
      'E_USAGE',
      `the metric name '${taken.name}' is taken`,
      'Give the metric another name.',
    );
  return loaded;
}

/** First words of quantities that are no metrics. */
const SECTIONS = [
  'sqnr',
  'cosine',
  'kl',
  'agreement',
  'output',
  'size',
  'latency',
  'layer',
  'layers',
  'kernels',
  'accumulator',
  'activations',
  'sparsity',
  'delta',
];

/**
 * A misspelt gate should not cost a whole evaluation.
 *
 * @throws FxqError E_USAGE
 */
export function checkGateNames({ gates }: ReportSettings, metrics: readonly Metric[]): void {
  const known = [...metrics.map((metric) => metric.name), ...SECTIONS];
  for (const { text, quantity } of gates) {
    const [first = ''] = quantity.split('.');
    if (known.includes(first) || isSparsity(first)) continue;
    throw new FxqError('E_USAGE', `the gate '${text}' speaks of '${first}', which is not measured`, [
      ...[didYouMean(first, known)].filter((s) => s !== ''),
      `What is measured begins with ${known.join(', ')}, or a pattern such as 2:4.`,
    ]);
  }
}
