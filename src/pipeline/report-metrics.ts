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

/** Sections that settings switch off, and how they are switched on. */
const SWITCHED: Readonly<Record<string, { isOff(settings: ReportSettings): boolean; readonly how: string }>> =
  {
    latency: { isOff: ({ latency }) => latency === 0, how: '--latency auto' },
    layer: { isOff: ({ layers }) => layers === 0, how: '--layers 32' },
    layers: { isOff: ({ layers }) => layers === 0, how: '--layers 32' },
    activations: {
      isOff: ({ activationSparsity }) => activationSparsity === undefined,
      how: '--activation-sparsity cett=0.2',
    },
    delta: { isOff: ({ baseline }) => baseline === undefined, how: '--baseline FILE' },
  };

/**
 * A gate that is misspelt, or on what is switched off, should not cost a whole evaluation.
 *
 * @throws FxqError E_USAGE
 */
export function checkGateNames(settings: ReportSettings, metrics: readonly Metric[]): void {
  const known = [...metrics.map((metric) => metric.name), ...SECTIONS];
  for (const { text, quantity } of settings.gates) {
    const [first = ''] = quantity.split('.');
    const section = Object.hasOwn(SWITCHED, first) ? SWITCHED[first] : undefined;
    if (section?.isOff(settings) === true)
      throw new FxqError(
        'E_USAGE',
        `the gate '${text}' speaks of '${first}', which is switched off`,
        `Give ${section.how}, or leave the gate out.`,
      );
    if (known.includes(first) || isSparsity(first)) continue;
    throw new FxqError('E_USAGE', `the gate '${text}' speaks of '${first}', which is not measured`, [
      ...[didYouMean(first, known)].filter((s) => s !== ''),
      `What is measured begins with ${known.join(', ')}, or a pattern such as 2:4.`,
    ]);
  }
}
