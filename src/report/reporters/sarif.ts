/** Failed gates as SARIF 2.1.0, which code scanning services read. */
import { type GateResult, type ReportResult } from '../result.js';
import { formatMeasure } from '../units.js';

const SCHEMA = 'https://json.schemastore.org/sarif-2.1.0.json';

export function sarif(result: ReportResult): string {
  const failed = result.gates.filter((gate) => !gate.passed);
  const rules = [...new Set(failed.map(ruleId))].sort().map((id) => ({ id }));
  const log = {
    $schema: SCHEMA,
    version: '2.1.0',
    runs: [
      {
        tool: { driver: { name: 'fxq', version: result.fxq, rules } },
        results: failed.map((gate) => ({
          ruleId: ruleId(gate),
          level: gate.level === 'error' ? 'error' : 'warning',
          message: {
            text: `${gate.gate}: ${formatMeasure(gate.value, gate.unit)}, limit ${formatMeasure(gate.limit, gate.unit)}`,
          },
          locations: [{ physicalLocation: { artifactLocation: { uri: encodeURI(result.quantized.file) } } }],
        })),
      },
    ],
  };
  return `${JSON.stringify(log, null, 2)}\n`;
}

/** `fxq/` and the quantity the gate speaks of. */
function ruleId(gate: GateResult): string {
  return `fxq/${gate.gate.split(/[<>=]/)[0]?.trim() ?? ''}`;
}
