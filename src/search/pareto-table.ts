/** A Pareto file as tables: the points, why each layer of a point got its format, and how sensitivity methods compare. */
import { describeAlternative, significant } from './allocation/index.js';
import { type ParetoFile, type ParetoPoint } from './pareto-file.js';
import { type RankSummary } from './sensitivity/index.js';

/** The front as a text table. */
export function paretoTable(file: ParetoFile): string {
  return alignRight(paretoCells(file));
}

/** The reasons of a point as a text table; empty for points of the bare front. */
export function explanationTable(point: ParetoPoint): string {
  return alignLeft(explanationCells(point));
}

/** What competed for a point, in a sentence; empty where nothing did. */
export function contestSentence({ name, contest }: ParetoPoint): string {
  if (contest === undefined) return '';
  const losses = contest.contenders.map(({ from, steady }) => `${from} ${number(steady)}`);
  return `Point ${name} comes from ${contest.taken}; as written, in the measure they are compared by: ${losses.join(', ')}.`;
}

/** How the sensitivity methods compare, as a text table; empty where losses were not measured. */
export function sensitivityTable(file: ParetoFile): string {
  return alignLeft(sensitivityCells(file));
}

/** The front as rows of a table with their head, best last. */
export function paretoCells({ points, references, loss }: ParetoFile): string[][] {
  const costs = Object.keys(points[0]?.costs ?? {}).sort();
  const drop = points.find((p) => p.drop !== undefined)?.drop?.metric;
  const head = [
    'point',
    `${loss} (predicted)`,
    '(simulated)',
    '(written)',
    ...(drop === undefined ? [] : [`${drop} lost`]),
    ...costs.flatMap((c) => [c, 'of int8']),
  ];
  const rows = points.map((p) => [
    p.name,
    number(p.predicted),
    number(p.measured),
    number(p.written),
    ...(drop === undefined
      ? []
      : [p.drop === undefined ? '' : `${number(p.drop.value)} ± ${number(p.drop.error)}`]),
    ...costs.flatMap((c) => [number(p.costs[c]), shareOf(p.costs[c], references.int8[c])]),
  ]);
  return [head, ...rows];
}

/** Why every group of a point got its candidate, as rows of a table with their head; none for points of the bare front. */
export function explanationCells({ explanations = [] }: ParetoPoint): string[][] {
  const rows = explanations
    .filter((e) => e.layers.length > 0)
    .map((e) => [
      e.group,
      e.chosen,
      number(e.amount),
      e.cheaper === undefined ? '' : describeAlternative(e.cheaper),
      e.better === undefined ? '' : describeAlternative(e.better),
    ]);
  if (rows.length === 0) return [];
  return [['layer', 'chosen', 'loss', 'cheaper', 'better'], ...rows];
}

/** How the sensitivity methods compare, as rows of a table with their head; none where losses were not measured. */
export function sensitivityCells({ sensitivities = [] }: ParetoFile): string[][] {
  if (sensitivities.length === 0) return [];
  const ranks = (of: RankSummary | undefined): string[] => [rank(of?.layers), rank(of?.overall)];
  const rows = sensitivities.map(({ method, forwardPasses, agreement, reliability, missing }) => [
    method,
    missing ?? forwardPasses?.toFixed(1) ?? '',
    ...ranks(agreement),
    ...ranks(reliability),
  ]);
  const head = [
    'sensitivity',
    'forward passes',
    'rank correlation with measured: layers',
    'overall',
    'split-half reliability: layers',
    'overall',
  ];
  return [head, ...rows];
}

function rank(r: number | undefined): string {
  return r === undefined ? '' : r.toFixed(3);
}

function number(x: number | undefined): string {
  return x === undefined ? '' : significant(x);
}

function shareOf(x: number | undefined, whole: number | undefined): string {
  return x === undefined || whole === undefined ? '' : `${((100 * x) / whole).toFixed(1)} %`;
}

function alignRight(rows: readonly (readonly string[])[]): string {
  const widths = widthsOf(rows);
  return rows.map((r) => r.map((cell, i) => cell.padStart(widths[i] ?? 0)).join('  ')).join('\n');
}

function alignLeft(rows: readonly (readonly string[])[]): string {
  const widths = widthsOf(rows);
  return rows
    .map((r) =>
      r
        .map((cell, i) => cell.padEnd(widths[i] ?? 0))
        .join('  ')
        .trimEnd(),
    )
    .join('\n');
}

function widthsOf(rows: readonly (readonly string[])[]): number[] {
  return (rows[0] ?? []).map((_, i) => Math.max(...rows.map((r) => (r[i] ?? '').length)));
}
