/** What a report tells people, section by section, before it is text, Markdown or HTML. */
import { sumsProducts, type AccumulatorWidth } from '../emit/index.js';
import { type KernelAudit } from '../engine/index.js';
import { type Plan } from '../plan/index.js';
import { evidenceSections } from './evidence-sections.js';
import { type LatencyResult, type LayerResult, type ReportResult, type SizeResult } from './result.js';
import { ROW_LIMIT, cell, counted, left, right, type Cell, type Section, type Tone } from './section.js';
import { weightSection } from './weight-section.js';
import { transformSections } from './transforms.js';
import { activationSection } from './activation-section.js';
import { distillationSection, sparsitySection } from './sparsity-section.js';
import {
  formatBytes,
  formatDecibels,
  formatMeasure,
  formatMilliseconds,
  significant,
  unitOfDifferences,
} from './units.js';

/** All sections that have something to say, what needs attention first. */
export function sectionsOf(result: ReportResult): Section[] {
  return [
    gates(result),
    quality(result),
    outputs(result),
    size(result.size),
    ...(result.latency === undefined ? [] : [latency(result.latency)]),
    ...(result.kernels === undefined ? [] : [kernelSection(result.kernels)]),
    ...(result.weights === undefined ? [] : [weightSection(result.weights)]),
    ...(result.accumulators === undefined ? [] : [accumulatorSection(result.accumulators)]),
    ...(result.transforms === undefined ? [] : transformSections(result.transforms)),
    ...(result.activations === undefined ? [] : [activationSection(result.activations)]),
    ...evidenceSections(result.evidence ?? {}),
    ...(result.sparsity ?? []).map(sparsitySection),
    ...(result.distillation === undefined ? [] : [distillationSection(result.distillation)]),
    layers(result.layers),
    baseline(result),
    notes(result),
  ].filter((section) => section.rows.length > 0 || section.lead !== undefined);
}

/** "100 samples of test.npz", with a warning where the data mean nothing. */
export function describeData({ data }: ReportResult): string {
  const samples = `${counted(data.samples, 'sample')} of ${data.source}`;
  return data.synthetic ? `${samples} (synthetic data: quality figures say nothing about the task)` : samples;
}

function gates({ gates }: ReportResult): Section {
  return {
    title: 'Gates',
    columns: [left(''), left('gate'), right('value'), right('limit')],
    rows: gates.map((gate) => [
      gate.passed ? cell('pass', 'good') : gate.level === 'warn' ? cell('warn', 'warn') : cell('FAIL', 'bad'),
      cell(gate.gate),
      cell(formatMeasure(gate.value, gate.unit)),
      cell(formatMeasure(gate.limit, gate.unit)),
    ]),
  };
}

function quality({ metrics }: ReportResult): Section {
  return {
    title: 'Quality',
    columns: [left('metric'), right('float'), right('quantized'), right('drop'), right('relative')],
    rows: metrics.map((m) => [
      cell(m.name),
      cell(formatMeasure(m.float, m.unit)),
      cell(formatMeasure(m.quantized, m.unit)),
      cell(formatMeasure(m.drop, unitOfDifferences(m.unit))),
      cell(formatMeasure(m.relative, '%')),
    ]),
  };
}

function outputs({ outputs }: ReportResult): Section {
  return {
    title: 'Outputs against float',
    columns: [left('output'), right('SQNR'), right('cosine'), right('KL'), right('agreement')],
    rows: outputs.map((o) => [
      cell(o.name),
      cell(formatDecibels(o.sqnr)),
      cell(o.cosine.toFixed(6)),
      cell(o.kl === undefined ? '–' : significant(o.kl)),
      cell(o.agreement === undefined ? '–' : formatMeasure(o.agreement, '%')),
    ]),
  };
}

function size(size: SizeResult): Section {
  const types = [...new Set([...Object.keys(size.quantizedTypes), ...Object.keys(size.floatTypes)])];
  const row = (name: string, float: number, quantized: number, tone: Tone): Cell[] => [
    cell(name, tone),
    cell(formatBytes(float), tone),
    cell(formatBytes(quantized), tone),
    cell(float === 0 ? '' : `${((100 * quantized) / float).toFixed(1)} %`, tone),
  ];
  return {
    title: 'Size',
    columns: [left(''), right('float'), right('quantized'), right('ratio')],
    rows: [
      row('file', size.float, size.quantized, 'plain'),
      ...types.map((t) => row(`  ${t}`, size.floatTypes[t] ?? 0, size.quantizedTypes[t] ?? 0, 'muted')),
    ],
  };
}

function latency({ float, quantized, runs, batch, threads }: LatencyResult): Section {
  const speedup = float.median / quantized.median;
  const row = (name: string, t: LatencyResult['float'], note: Cell): Cell[] => [
    cell(name),
    cell(formatMeasure(t.median, 'ms')),
    cell(`${formatMilliseconds(t.low)} – ${formatMilliseconds(t.high)}`),
    note,
  ];
  return {
    title: 'Latency',
    lead: `Median and quartiles of ${runs} interleaved runs, batch ${batch}, ${threads === 0 ? 'default threads' : `threads ${threads}`}.`,
    columns: [left(''), right('median'), right('quartiles'), left('')],
    rows: [
      row('float', float, cell('')),
      row(
        'quantized',
        quantized,
        speedup >= 1
          ? cell(`${speedup.toFixed(2)}x faster`, 'good')
          : cell(`${(1 / speedup).toFixed(2)}x slower`, 'warn'),
      ),
    ],
  };
}

/** How many weighted nodes run as integer kernels, and why the others do not. */
export function kernelSection(audit: KernelAudit): Section {
  const total = audit.nodes.length;
  const others = groupBy(
    audit.nodes.filter((node) => node.kernel !== 'integer'),
    ({ opType, kernel, why }) => `${opType}\n${kernel}\n${why}`,
  );
  return {
    title: 'Kernels',
    lead:
      `${audit.integer} of ${counted(total, 'weighted node')} run as integer kernels; conversions left at run time: ` +
      `${audit.conversions}.`,
    columns: [left('node'), left('operator'), left('kernel'), left('why not integer')],
    rows: others.map(([first, ...rest]) => [
      cell(nameAll([first, ...rest].map((node) => node.name))),
      cell(first.opType),
      cell(first.kernel, first.kernel === 'float' ? 'warn' : 'plain'),
      cell(first.why),
    ]),
  };
}

type Group<T> = readonly [T, ...T[]];

/** Items of one key together, in the order in which keys first occur. */
function groupBy<T>(items: readonly T[], key: (item: T) => string): Group<T>[] {
  const groups = new Map<string, [T, ...T[]]>();
  for (const item of items) {
    const group = groups.get(key(item));
    if (group === undefined) groups.set(key(item), [item]);
    else group.push(item);
  }
  return [...groups.values()];
}

/** Up to three names; of more, the first, the last and how many. */
function nameAll(names: readonly string[]): string {
  return names.length <= 3 ? names.join(', ') : `${names[0] ?? ''} … ${names.at(-1) ?? ''} (${names.length})`;
}

/** The widest sums of an integer model. */
function accumulatorSection(all: readonly AccumulatorWidth[]): Section {
  const widest = all
    .filter(sumsProducts)
    .sort((a, b) => b.bits - a.bits)
    .slice(0, ROW_LIMIT);
  return {
    title: 'Accumulators',
    lead: 'Bits of signed words that no input, and no input within calibrated ranges, can overflow; widest first.',
    columns: [left('node'), right('any input'), right('calibrated'), right('bias')],
    rows: widest.map(({ node, bits, calibratedBits, biasBits }) => [
      cell(node),
      cell(`${bits}`),
      cell(`${calibratedBits ?? '–'}`),
      cell(`${biasBits ?? '–'}`),
    ]),
  };
}

/** What happens to every node, and why. */
export function planSection(plan: Plan): Section {
  const formatOf = (id: string | null): string =>
    id === null ? 'float' : (plan.activations[id]?.format ?? id);
  const formats = (names: readonly string[]): string => [...new Set(names)].join(', ') || '–';
  return {
    title: 'Plan',
    columns: [
      left('node'),
      left('operator'),
      left('decision'),
      left('weights'),
      left('activations'),
      left('why'),
    ],
    rows: Object.values(plan.nodes).map((node) => [
      cell(node.node),
      cell(node.opType),
      cell(node.decision, node.decision === 'float' ? 'muted' : 'plain'),
      cell(formats(Object.values(node.weights).map((name) => plan.weights[name]?.format ?? name))),
      cell(formats(node.inputs.map(formatOf))),
      cell(node.why),
    ]),
  };
}

function layers(all: readonly LayerResult[]): Section {
  if (all.length === 0) return { title: 'Layers', columns: [], rows: [] };
  const shown = worstLayers(all, ROW_LIMIT);
  const culprits = new Set(
    worstLayers(
      all.filter((l) => l.share >= 10),
      3,
    ),
  );
  return {
    title: 'Layers',
    lead:
      'SQNR of every layer alone on float inputs (own), with everything before it (accumulated), and of rounding ' +
      'its output for the readers (activation).' +
      (shown.length < all.length
        ? ` Shown are the ${shown.length} with the largest own error of ${all.length}, in graph order.`
        : ''),
    columns: [
      left('node'),
      left('operator'),
      left('weights'),
      right('own'),
      right('share'),
      right('accumulated'),
      right('activation'),
    ],
    rows: shown.map((l) => {
      const tone: Tone = culprits.has(l) ? 'warn' : 'plain';
      return [
        cell(l.node || l.value, tone),
        cell(l.opType),
        cell(l.weights ?? '–'),
        cell(formatDecibels(l.own), tone),
        cell(`${l.share.toFixed(1)} %`, tone),
        cell(formatDecibels(l.accumulated)),
        cell(l.activation === undefined ? '–' : formatDecibels(l.activation)),
      ];
    }),
  };
}

/** The layers with the largest own error, in graph order. */
export function worstLayers(all: readonly LayerResult[], count: number): LayerResult[] {
  const chosen = new Set([...all].sort((a, b) => a.own - b.own).slice(0, count));
  return all.filter((layer) => chosen.has(layer));
}

function baseline({ baseline = [] }: ReportResult): Section {
  const changed = baseline.filter((d) => d.before !== d.after);
  return {
    title: 'Changes against the baseline',
    ...(baseline.length > 0 && changed.length === 0 ? { lead: 'Nothing changed.' } : {}),
    columns: [left('quantity'), right('before'), right('now')],
    rows: changed.map((d) => [
      cell(d.quantity),
      cell(formatMeasure(d.before, d.unit)),
      cell(formatMeasure(d.after, d.unit)),
    ]),
  };
}

function notes({ notes }: ReportResult): Section {
  return {
    title: 'Notes',
    columns: [left(''), left('')],
    rows: notes.map((n) => [cell(n.level, n.level === 'warn' ? 'warn' : 'muted'), cell(n.message)]),
  };
}
