/** Failed gates and warnings as workflow commands, which GitHub shows as annotations. */
import { type ReportResult } from '../result.js';
import { formatMeasure } from '../units.js';

/** GitHub shows about ten annotations of a kind and step; the rest is only counted. */
const LIMIT = 9;

export function githubActions(result: ReportResult): string {
  const file = result.quantized.file;
  const failed = result.gates.filter((gate) => !gate.passed);
  const annotations = [
    ...failed.map((gate) => ({
      kind: gate.level === 'error' ? 'error' : 'warning',
      title: `fxq ${gate.gate}`,
      message: `${formatMeasure(gate.value, gate.unit)}, limit ${formatMeasure(gate.limit, gate.unit)}`,
    })),
    ...result.notes
      .filter((note) => note.level === 'warn')
      .map((note) => ({ kind: 'warning', title: `fxq ${note.code}`, message: note.message })),
  ];
  return ['error', 'warning']
    .flatMap((kind) => {
      const ofKind = annotations.filter((a) => a.kind === kind);
      const lines = ofKind.slice(0, LIMIT).map((a) => command(kind, file, a.title, a.message));
      const more = ofKind.length - LIMIT;
      return more > 0 ? [...lines, command(kind, file, 'fxq', `${more} more in the report`)] : lines;
    })
    .map((line) => `${line}\n`)
    .join('');
}

function command(kind: string, file: string, title: string, message: string): string {
  return `::${kind} file=${escapeProperty(file)},title=${escapeProperty(title)}::${escapeData(message)}`;
}

/** Escapes of the runner's command syntax; properties end at ',' and ':' as well. */
function escapeData(text: string): string {
  return text.replace(/%/g, '%25').replace(/\r/g, '%0D').replace(/\n/g, '%0A');
}

function escapeProperty(text: string): string {
  return escapeData(text).replace(/:/g, '%3A').replace(/,/g, '%2C');
}
