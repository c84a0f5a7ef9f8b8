/** The report as Markdown, for pull requests and job summaries. */
import { type Section } from '../section.js';
import { describeData, sectionsOf } from '../sections.js';
import { type ReportResult } from '../result.js';

export function markdown(result: ReportResult): string {
  const head = `# ${escape(result.float.file)} → ${escape(result.quantized.file)}`;
  const data = `${escape(describeData(result))}; onnxruntime ${result.onnxruntime}.`;
  return `${[head, data, ...sectionsOf(result).map(formatSection)].join('\n\n')}\n`;
}

function formatSection({ title, lead, columns, rows }: Section): string {
  const head = [`## ${title}`, ...(lead === undefined ? [] : [escape(lead)])];
  if (rows.length === 0) return head.join('\n\n');
  const line = (cells: readonly string[]): string => `| ${cells.join(' | ')} |`;
  const table = [
    line(columns.map((c) => c.title)),
    line(columns.map((c) => (c.align === 'right' ? '--:' : '---'))),
    ...rows.map((row) =>
      line(
        row.map(({ text, tone }) =>
          tone === 'bad' || tone === 'warn' ? `**${escape(text)}**` : escape(text),
        ),
      ),
    ),
  ];
  return [...head, table.join('\n')].join('\n\n');
}

/** Escapes what Markdown would read as markup inside a table cell. */
function escape(text: string): string {
  return text.trim().replace(/[\\`*_{}[\]<>|]/g, (c) => `\\${c}`);
}
