/** The report as aligned text for a terminal. */
import { type Cell, type Section, type Tone } from '../section.js';
import { describeData, sectionsOf } from '../sections.js';
import { type ReportResult } from '../result.js';

/** Colours a piece of text; the terminal's owner passes one, files get none. */
export type Paint = (tone: Tone | 'title', text: string) => string;

const noPaint: Paint = (_tone, text) => text;
const WIDTH = 100;
const GAP = 2;

export function text(result: ReportResult, paint: Paint = noPaint): string {
  const head = [
    `${paint('title', result.float.file)} → ${paint('title', result.quantized.file)}`,
    paint('muted', `${describeData(result)}; onnxruntime ${result.onnxruntime}`),
  ];
  const blocks = sectionsOf(result).map((section) => formatSection(section, paint));
  return `${[head.join('\n'), ...blocks].join('\n\n')}\n`;
}

/** Title, lead and aligned table, at most {@link WIDTH} columns wide. */
export function formatSection(section: Section, paint: Paint = noPaint): string {
  const lead =
    section.lead === undefined ? [] : wrap(section.lead, WIDTH - GAP).map((l) => paint('muted', `  ${l}`));
  return [paint('title', section.title), ...lead, ...formatTable(section, paint)].join('\n');
}

function formatTable({ columns, rows }: Section, paint: Paint): string[] {
  if (rows.length === 0) return [];
  const titles = columns.map((c): Cell => ({ text: c.title, tone: 'muted' }));
  const all = titles.some((t) => t.text !== '') ? [titles, ...rows] : rows;
  const natural = columns.map((_, i) => Math.max(...all.map((row) => row[i]?.text.length ?? 0)));
  const widths = fit(natural, WIDTH - GAP * columns.length);
  return all.flatMap((row) => formatRow(row, columns, widths, paint));
}

/** One line, or several when the last column is text that does not fit. */
function formatRow(
  row: readonly Cell[],
  columns: Section['columns'],
  widths: readonly number[],
  paint: Paint,
): string[] {
  const last = columns.length - 1;
  const lines =
    columns[last]?.align === 'left' ? wrap(row[last]?.text ?? '', widths[last] ?? WIDTH) : undefined;
  const cells = columns.map((column, i) => {
    const { text = '', tone = 'plain' } = row[i] ?? {};
    const width = widths[i] ?? 0;
    const short = i === last && lines !== undefined ? (lines[0] ?? '') : shorten(text, width);
    const padding = ' '.repeat(Math.max(width - short.length, 0));
    return column.align === 'right' ? padding + paint(tone, short) : paint(tone, short) + padding;
  });
  const indent = ' '.repeat(GAP * columns.length + widths.slice(0, last).reduce((a, b) => a + b, 0));
  const first = (' '.repeat(GAP) + cells.join(' '.repeat(GAP))).trimEnd();
  return [first, ...(lines ?? []).slice(1).map((line) => indent + line)];
}

/** Column widths within a total: the widest columns give way first. */
function fit(natural: readonly number[], total: number): number[] {
  const widths = [...natural];
  let excess = widths.reduce((a, b) => a + b, 0) - total;
  while (excess > 0) {
    const widest = widths.indexOf(Math.max(...widths));
    widths[widest] = (widths[widest] ?? 1) - 1;
    excess--;
  }
  return widths;
}

/** Keeps both ends of a long name: the path in front and what tells it apart behind. */
function shorten(text: string, width: number): string {
  if (text.length <= width) return text;
  const tail = Math.ceil((width - 1) / 2);
  return `${text.slice(0, width - 1 - tail)}…${text.slice(text.length - tail)}`;
}

function wrap(text: string, width: number): string[] {
  const lines: string[] = [];
  let line = '';
  for (const word of text.split(/\s+/)) {
    if (line !== '' && line.length + 1 + word.length > width) {
      lines.push(line);
      line = word;
    } else {
      line = line === '' ? word : `${line} ${word}`;
    }
  }
  return [...lines, line];
}
