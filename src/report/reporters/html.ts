/** The report as one self-contained HTML file with charts; no script, no external asset, light and dark. */
import { type LayerBytes, type LayerResult, type ReportResult, type TensorResult } from '../result.js';
import { type Section } from '../section.js';
import { describeData, sectionsOf } from '../sections.js';
import { barChart, escapeXml as escape, histogram, lineChart } from '../svg.js';
import { formatBytes, formatDecibels, formatMeasure, significant } from '../units.js';
import { STYLE } from './html-style.js';

export function html(result: ReportResult): string {
  const title = `${result.float.file} → ${result.quantized.file}`;
  const body = [
    `<header><h1>${escape(title)}</h1><p class="muted">${escape(describeData(result))}; onnxruntime ${escape(result.onnxruntime)}</p></header>`,
    cards(result),
    ...sectionsOf(result).map((section) => formatSection(section, chartsFor(section.title, result))),
    tensors(result.tensors),
  ];
  return [
    '<!doctype html>',
    '<html lang="en">',
    `<head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>${escape(title)}</title>`,
    `<style>${STYLE}</style></head>`,
    `<body><main>`,
    ...body,
    `<footer class="muted">fxq ${escape(result.fxq)}</footer>`,
    '</main></body></html>',
    '',
  ].join('\n');
}

interface Card {
  readonly label: string;
  readonly value: string;
  readonly note: string;
  readonly tone?: 'good' | 'bad' | 'warn';
}

/** The handful of numbers one looks for first. */
function cards(result: ReportResult): string {
  const { metrics, size, latency, kernels, gates, outputs } = result;
  const failed = gates.filter((gate) => !gate.passed && gate.level === 'error').length;
  const all: Card[] = [
    ...(gates.length === 0
      ? []
      : [
          failed === 0
            ? { label: 'gates', value: 'passed', note: `${gates.length} checked`, tone: 'good' as const }
            : { label: 'gates', value: `${failed} failed`, note: `of ${gates.length}`, tone: 'bad' as const },
        ]),
    ...metrics.map((m) => ({
      label: m.name,
      value: formatMeasure(m.quantized, m.unit),
      note: `float ${formatMeasure(m.float, m.unit)}, drop ${significant(Number(m.drop.toFixed(4)))}`,
    })),
    ...outputs.slice(0, 1).map((o) => ({
      label: 'output SQNR',
      value: formatDecibels(o.sqnr),
      note:
        o.agreement === undefined ? `cosine ${o.cosine.toFixed(4)}` : `agreement ${o.agreement.toFixed(1)} %`,
    })),
    {
      label: 'size',
      value: formatBytes(size.quantized),
      note: `${((100 * size.quantized) / size.float).toFixed(1)} % of ${formatBytes(size.float)}`,
    },
    ...(latency === undefined
      ? []
      : [
          {
            label: 'latency',
            value: formatMeasure(latency.quantized.median, 'ms'),
            note: `float ${formatMeasure(latency.float.median, 'ms')}`,
            ...(latency.quantized.median > latency.float.median ? { tone: 'warn' as const } : {}),
          },
        ]),
    ...(kernels === undefined
      ? []
      : [
          {
            label: 'integer kernels',
            value: `${kernels.integer} of ${kernels.nodes.length}`,
            note: 'weighted nodes',
          },
        ]),
  ];
  const items = all.map(
    (card) =>
      `<div class="card ${card.tone ?? ''}"><div class="muted">${escape(card.label)}</div>` +
      `<div class="value">${escape(card.value)}</div><div class="muted">${escape(card.note)}</div></div>`,
  );
  return `<div class="cards">${items.join('')}</div>`;
}

function formatSection({ title, lead, columns, rows }: Section, charts: string): string {
  const head = columns.map((c) => `<th class="${c.align}">${escape(c.title)}</th>`).join('');
  const body = rows.map(
    (row) =>
      `<tr>${row.map((cell, i) => `<td class="${columns[i]?.align ?? 'left'} ${cell.tone}">${escape(cell.text)}</td>`).join('')}</tr>`,
  );
  const table =
    rows.length === 0
      ? ''
      : `<div class="scroll"><table><thead><tr>${head}</tr></thead><tbody>\n${body.join('\n')}\n</tbody></table></div>`;
  const text = lead === undefined ? '' : `<p class="muted">${escape(lead)}</p>`;
  return `<section><h2>${escape(title)}</h2>${text}${charts}${table}</section>`;
}

function chartsFor(section: string, result: ReportResult): string {
  if (section === 'Layers') return layerChart(result.layers);
  if (section === 'Size') return sizeCharts(result.size.layers);
  return '';
}

/** Charts show SQNR up to this; what is better is as good as exact. */
const CEILING = 90;

function layerChart(all: readonly LayerResult[]): string {
  const layers = all.filter((l) => l.weights !== undefined || l.share > 0);
  if (layers.length === 0) return '';
  const limited = (value: number): number => Math.max(Math.min(value, CEILING), -20);
  const chart = lineChart({
    title: 'SQNR of every layer in graph order',
    labels: layers.map((l) => l.node),
    unit: 'dB',
    series: [
      { name: 'own', values: layers.map((l) => limited(l.own)) },
      { name: 'accumulated', values: layers.map((l) => limited(l.accumulated)) },
    ],
    details: layers.map(
      (l) =>
        `${l.node || l.value} (${l.opType}): own ${formatDecibels(l.own)}, accumulated ${formatDecibels(l.accumulated)}`,
    ),
  });
  return figure(chart, ['own', 'accumulated'], 'SQNR in graph order; higher is better.');
}

function sizeCharts(layers: readonly LayerBytes[]): string {
  if (layers.length === 0) return '';
  const labels = layers.map((l) => l.node);
  const details = layers.map(
    (l) =>
      `${l.node} (${l.opType}): ${formatBytes(l.floatBytes)} to ${formatBytes(l.bytes)}, ${l.bits.toFixed(1)} bits`,
  );
  const bytes = barChart({
    title: 'Bytes of every layer in graph order',
    labels,
    unit: 'kB',
    details,
    series: [
      { name: 'float', values: layers.map((l) => l.floatBytes / 1e3) },
      { name: 'quantized', values: layers.map((l) => l.bytes / 1e3) },
    ],
  });
  const bits = barChart({
    title: 'Mean bits of a stored weight in graph order',
    labels,
    unit: '',
    details,
    series: [{ name: 'bits', values: layers.map((l) => l.bits) }],
  });
  return (
    figure(bytes, ['float', 'quantized'], 'Bytes of every layer in graph order.') +
    figure(bits, [], 'Mean stored bits of a weight, scales and biases included.')
  );
}

function tensors(all: readonly TensorResult[]): string {
  if (all.length === 0) return '';
  const figures = all.map((t) => {
    const chart = histogram({
      title: `Histogram of ${t.value}`,
      counts: t.histogram,
      low: t.min,
      high: t.max,
      ...(t.grid === undefined ? {} : { range: t.grid }),
    });
    const grid =
      t.grid === undefined
        ? 'stays float'
        : `grid from ${significant(t.grid.low)} to ${significant(t.grid.high)} in steps of ${significant(t.grid.step)} (shaded)`;
    return `<h3>${escape(t.value)}</h3>${figure(chart, [], `Values from ${significant(t.min)} to ${significant(t.max)}; ${grid}. Counts on a logarithmic scale.`)}`;
  });
  return `<section><h2>Tensors</h2>${figures.join('\n')}</section>`;
}

function figure(chart: string, legend: readonly string[], caption: string): string {
  const keys = legend.map((name, i) => `<span class="key"><i class="series-${i}"></i>${escape(name)}</span>`);
  return `<figure>${chart}<figcaption class="muted"><span class="text">${escape(caption)}</span>${keys.join('')}</figcaption></figure>`;
}
