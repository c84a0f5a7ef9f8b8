/** Sections on what was done to the float model and its biases: channels evened out, shifts of the mean taken back. */
import { type Transforms } from './result.js';
import { ROW_LIMIT, type Section } from './section.js';
import { significant } from './units.js';

const columns = (first: string, ...numbers: readonly string[]): Section['columns'] => [
  { title: first, align: 'left' },
  ...numbers.map((title) => ({ title, align: 'right' }) as const),
];

const row = (...texts: readonly string[]): Section['rows'][number] =>
  texts.map((text) => ({ text, tone: 'plain' }));

const change = ({ before, after }: { readonly before: number; readonly after: number }): string =>
  `${significant(before)} → ${significant(after)}`;

const optional = (pair: { readonly before: number; readonly after: number } | undefined): string =>
  pair === undefined ? '' : change(pair);

const percent = (share: number): string => `${(100 * share).toFixed(1)} %`;

const chain = (from: readonly string[], to: readonly string[]): string =>
  `${from.join(', ')} → ${to.join(', ')}`;

/** One section for each kind of change that was made. */
export function transformSections({ equalization, permutation, biases = [] }: Transforms): Section[] {
  const { crossLayer = [], absorbed = [], smoothed = [] } = equalization ?? {};
  const sections: Section[] = [
    {
      title: 'Equalized channels',
      lead: 'Widest over narrowest channel, and bits that one scale a weight costs the mean channel.',
      columns: columns('layers', 'channels', 'ratio', 'bits lost'),
      rows: crossLayer.map(({ from, to, channels, before, after }) =>
        row(
          chain(from, to),
          String(channels),
          change({ before: before.ratio, after: after.ratio }),
          change({ before: before.bits, after: after.bits }),
        ),
      ),
    },
    {
      title: 'Absorbed biases',
      columns: columns('layers', 'channels', 'largest value'),
      rows: absorbed.map(({ from, to, absorbed: taken, channels, reach }) =>
        row(chain([from], to), `${taken} of ${channels}`, change(reach)),
      ),
    },
    {
      title: 'Smoothed activations',
      lead: 'Widest over narrowest channel, and relative error of the products.',
      columns: columns('value', 'α', 'ratio', 'error', 'held-out error'),
      rows: smoothed.map(({ inputs, inserted, alpha, ratio, fit, heldOut }) =>
        row(
          `${inputs.join(', ')}${inserted ? ' (multiplied)' : ''}`,
          alpha === undefined ? 'left' : String(alpha),
          change(ratio),
          optional(fit),
          optional(heldOut),
        ),
      ),
    },
    {
      title: 'Permuted channels',
      lead: 'Share of the weighted energy that the pattern keeps, mean over the layers that read the channels.',
      columns: columns('layers', 'channels', 'kept'),
      rows: (permutation?.permuted ?? []).map(({ layers, channels, kept }) =>
        row(layers.join(', '), String(channels), `${percent(kept.before)} → ${percent(kept.after)}`),
      ),
    },
    {
      title: 'Corrected biases',
      lead: "Relative error of each layer's output without and with the correction.",
      columns: columns('node', 'shift', 'error', 'held-out error'),
      rows: biases.map(({ node, shift, fit, heldOut }) =>
        row(node, significant(shift), change(fit), optional(heldOut)),
      ),
    },
  ];
  return sections
    .filter(({ rows }) => rows.length > 0)
    .map((section) => ({ ...section, rows: section.rows.slice(0, ROW_LIMIT) }));
}
