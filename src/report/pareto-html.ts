/** A Pareto file as one self-contained HTML page: a chart for each cost, the table, and why each layer got its format. */
import {
  contestSentence,
  explanationCells,
  paretoCells,
  sensitivityCells,
  type ParetoFile,
  type ParetoPoint,
} from '../search/index.js';
import { STYLE } from './reporters/html-style.js';
import { escapeXml as escape, niceTicks } from './svg.js';

const WIDTH = 960;
const HEIGHT = 300;
const MARGIN = { top: 14, right: 60, bottom: 40, left: 64 };
const INNER = { width: WIDTH - MARGIN.left - MARGIN.right, height: HEIGHT - MARGIN.top - MARGIN.bottom };

/** The page; the same bytes for the same file. */
export function paretoHtml(file: ParetoFile): string {
  const title = `Mixed precision: ${file.loss} against cost`;
  const costs = Object.keys(file.points[0]?.costs ?? {}).sort();
  const explained = file.points.filter((p) => (p.explanations ?? []).length > 0);
  return [
    '<!doctype html>',
    '<html lang="en">',
    `<head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>${escape(title)}</title>`,
    `<style>${STYLE}</style></head>`,
    '<body><main>',
    `<header><h1>${escape(title)}</h1><p class="muted">${escape(describe(file))}</p></header>`,
    ...costs.map((cost) => `<section><h2>${escape(cost)}</h2>${chart(file, cost)}${KEY}</section>`),
    `<section><h2>Points</h2>${table(paretoCells(file), 'right')}</section>`,
    ...explained.map(
      (p) =>
        `<section><h2>Layers of ${escape(p.name)}</h2><p class="muted">The nearest cheaper and the nearest better candidate, with what it would have changed. ${escape(contestSentence(p))}</p>${table(explanationCells(p), 'left')}</section>`,
    ),
    ...(file.sensitivities === undefined
      ? []
      : [`<section><h2>Sensitivity methods</h2>${table(sensitivityCells(file), 'right')}</section>`]),
    '</main></body></html>',
    '',
  ].join('\n');
}

const KEY =
  '<figcaption class="muted"><span class="key"><i class="series-0"></i>predicted</span><span class="key"><i class="series-1"></i>run</span></figcaption>';

function describe({ sensitivity, hardware, model }: ParetoFile): string {
  return `sensitivity ${sensitivity}, hardware ${hardware}, model ${model.slice(0, 12)}`;
}

/** Predicted and run losses over one cost, on a logarithmic scale; the cost in percent of everything in 8 bits. */
function chart({ points, references, loss }: ParetoFile, cost: string): string {
  const whole = references.int8[cost] ?? 1;
  const share = (p: ParetoPoint): number => (100 * (p.costs[cost] ?? 0)) / whole;
  const sorted = [...points].sort((a, b) => share(a) - share(b));
  const logs = sorted.flatMap((p) => [p.predicted, run(p)].flatMap((v) => (v > 0 ? [Math.log10(v)] : [])));
  if (logs.length === 0) return '';
  const [low, high] = [Math.floor(Math.min(...logs)), Math.ceil(Math.max(...logs) + 1e-9)];
  const shares = sorted.map(share);
  const [left, right] = [Math.min(...shares), Math.max(...shares)];
  const x = (v: number): number => MARGIN.left + ((v - left) / (right - left || 1)) * INNER.width;
  const y = (v: number): number =>
    MARGIN.top + ((high - clamp(v > 0 ? Math.log10(v) : low, low, high)) / (high - low || 1)) * INNER.height;
  const rows = Array.from({ length: high - low + 1 }, (_, i) => low + i).map((power) => {
    const at = round(y(10 ** power));
    return `<line class="grid" x1="${MARGIN.left}" x2="${WIDTH - MARGIN.right}" y1="${at}" y2="${at}"/><text x="${MARGIN.left - 6}" y="${at + 4}" text-anchor="end">1e${power}</text>`;
  });
  const ticks = niceTicks(left, right, 8).map(
    (tick) =>
      `<text x="${round(x(tick))}" y="${HEIGHT - 22}" text-anchor="middle">${Number(tick.toPrecision(4))} %</text>`,
  );
  const series = [(p: ParetoPoint) => p.predicted, run].map((of, k) => {
    const dots = sorted.filter((p) => Number.isFinite(of(p)));
    const line = dots
      .filter((p) => /^p\d/.test(p.name))
      .map((p) => `${round(x(share(p)))},${round(y(of(p)))}`);
    const circles = dots.map((p) => {
      const isNamed = !/^p\d/.test(p.name);
      const [cx, cy] = [round(x(share(p))), round(y(of(p)))];
      const text = isNamed && k === 1 ? `<text x="${cx + 7}" y="${cy - 5}">${escape(p.name)}</text>` : '';
      const detail = `${p.name}: ${loss} ${of(p).toPrecision(3)} at ${share(p).toFixed(1)} % of int8 ${cost}`;
      return `<circle class="series-${k}" cx="${cx}" cy="${cy}" r="${isNamed ? 5 : 3.5}"><title>${escape(detail)}</title></circle>${text}`;
    });
    return [`<polyline class="series-${k}" points="${line.join(' ')}"/>`, ...circles].join('\n');
  });
  const axis = `<text x="${MARGIN.left + INNER.width / 2}" y="${HEIGHT - 5}" text-anchor="middle">${escape(cost)} of int8</text>`;
  return `<svg viewBox="0 0 ${WIDTH} ${HEIGHT}" role="img" aria-label="${escape(`${loss} over ${cost}`)}">\n${[...rows, ...ticks, axis, ...series].join('\n')}\n</svg>`;
}

/** The most real loss there is: of the written model, or of the simulated one. */
function run({ written, measured }: ParetoPoint): number {
  return written ?? measured ?? NaN;
}

function table([head = [], ...rows]: readonly (readonly string[])[], align: 'left' | 'right'): string {
  const cells = (row: readonly string[], tag: string): string =>
    `<tr>${row.map((text, i) => `<${tag} class="${i === 0 ? 'left' : align}">${escape(text)}</${tag}>`).join('')}</tr>`;
  return `<div class="scroll"><table><thead>${cells(head, 'th')}</thead><tbody>\n${rows.map((row) => cells(row, 'td')).join('\n')}\n</tbody></table></div>`;
}

const clamp = (value: number, low: number, high: number): number => Math.min(Math.max(value, low), high);
const round = (value: number): number => Number(value.toFixed(2));
