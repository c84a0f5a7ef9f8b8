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
  const taken = loaded.find((metric, i) => SECTIONS.has(metric.name) || names.indexOf(metric.name) > i);
  if (taken !== undefined)
    throw new FxqError(
      'E_USAGE',
      `the metric name '${taken.name}' is taken`,
      'Give the metric another name.',
    );
  return loaded;
}

/** A part of the report that settings leave out, and how it is asked for. */
interface Switched {
  isOff(settings: ReportSettings): boolean;
  readonly how: string;
}

const LAYERS: Switched = { isOff: ({ layers }) => layers === 0, how: '--layers 32' };

/** First words of quantities that are no metrics, with what switches their part of the report. */
const SECTIONS: ReadonlyMap<string, Switched | 'always'> = new Map<string, Switched | 'always'>([
  ['sqnr', 'always'],
  ['cosine', 'always'],
  ['kl', 'always'],
  ['agreement', 'always'],
  ['output', 'always'],
  ['size', 'always'],
  ['latency', { isOff: ({ latency }) => latency === 0, how: '--latency auto' }],
  ['layer', LAYERS],
  ['layers', LAYERS],
  ['kernels', 'always'],
  ['accumulator', 'always'],
  [
    'activations',
    {
      isOff: ({ activationSparsity }) => activationSparsity === undefined,
      how: '--activation-sparsity cett=0.2',
    },
  ],
  ['sparsity', 'always'],
  ['delta', { isOff: ({ baseline }) => baseline === undefined, how: '--baseline FILE' }],
]);

/**
 * A gate that is misspelt, or on what is switched off, should not cost a whole evaluation.
 *
 * @throws FxqError E_USAGE
 */
export function checkGateNames(settings: ReportSettings, metrics: readonly Metric[]): void {
  const known = [...metrics.map((metric) => metric.name), ...SECTIONS.keys()];
  for (const { text, quantity } of settings.gates) {
    const [first = ''] = quantity.split('.');
    const section = SECTIONS.get(first) ?? 'always';
    if (section !== 'always' && section.isOff(settings))
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
