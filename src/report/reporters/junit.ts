/** The gates as JUnit XML, which most CI systems show as tests. */
import { type GateResult, type ReportResult } from '../result.js';
import { formatMeasure } from '../units.js';

/** One suite for the report, one case for every gate; a gate of level warn is a skipped case when it fails. */
export function junit(result: ReportResult): string {
  const { gates } = result;
  const failed = gates.filter((g) => !g.passed && g.level === 'error').length;
  const warned = gates.filter((g) => !g.passed && g.level === 'warn').length;
  const suite = `name="${escape(`fxq ${result.quantized.file}`)}" tests="${gates.length}" failures="${failed}" skipped="${warned}"`;
  return [
    '<?xml version="1.0" encoding="UTF-8"?>',
    `<testsuites tests="${gates.length}" failures="${failed}" skipped="${warned}">`,
    `  <testsuite ${suite}>`,
    ...gates.flatMap((gate) => testCase(gate, result.quantized.file)),
    '  </testsuite>',
    '</testsuites>',
    '',
  ].join('\n');
}

function testCase(gate: GateResult, file: string): string[] {
  const open = `    <testcase classname="${escape(file)}" name="${escape(gate.gate)}"`;
  if (gate.passed) return [`${open}/>`];
  const message = `${formatMeasure(gate.value, gate.unit)}, limit ${formatMeasure(gate.limit, gate.unit)}`;
  const tag = gate.level === 'error' ? 'failure' : 'skipped';
  return [`${open}>`, `      <${tag} message="${escape(message)}"/>`, '    </testcase>'];
}

const ENTITIES: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&apos;',
};

/** Escapes markup and drops control characters, which XML 1.0 does not allow at all. */
function escape(text: string): string {
  return text.replace(/[\x00-\x08\x0b\x0c\x0e-\x1f]/g, '').replace(/[&<>"']/g, (c) => ENTITIES[c] ?? c);
}
