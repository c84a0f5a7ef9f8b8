/** A Pareto file as tables: the points, and why each layer of a point got its format. */
import { describeAlternative, significant } from './allocation/index.js';
import { type ParetoFile, type ParetoPoint } from './pareto-file.js';

/** The front as a text table. */
export function paretoTable(file: ParetoFile): string {
  return alignRight(paretoCells(file));
}

/** The reasons of a point as a text table; empty for points of the bare front. */
export function explanationTable(file: ParetoFile, point: ParetoPoint): string {
  return alignLeft(explanationCells(file, point));
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
export function explanationCells({ layers }: ParetoFile, { explanations = [] }: ParetoPoint): string[][] {
  const rows = explanations
    .filter((e) => e.layers.length > 0)
    .map((e) => [
      e.group,
      e.chosen,
      number(layers[e.group]?.[e.chosen]?.loss),
      e.cheaper === undefined ? '' : describeAlternative(e.cheaper),
      e.better === undefined ? '' : describeAlternative(e.better),
    ]);
  if (rows.length === 0) return [];
  return [['layer', 'chosen', 'loss', 'cheaper', 'better'], ...rows];
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
