/** Reading back an earlier result to compare with. */
import { FxqError, readInput } from '../core/index.js';
import { SCHEMA_VERSION, type ReportResult } from './result.js';

/**
 * Reads a JSON report.
 *
 * @throws FxqError E_FILE when it cannot be read, E_DATA when it is not a report of this schema version
 */
export function readBaseline(path: string): ReportResult {
  const text = readInput(path, 'baseline').toString('utf8');
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw notAReport(path, (error as Error).message);
  }
  const found = value as Partial<ReportResult> | null;
  if (found?.schemaVersion !== SCHEMA_VERSION) {
    throw notAReport(
      path,
      `its schemaVersion is ${String(found?.schemaVersion)} instead of ${SCHEMA_VERSION}`,
    );
  }
  const lists = ['metrics', 'outputs', 'layers'] as const;
  const missing = lists.filter((key) => !Array.isArray(found[key]));
  if (missing.length > 0 || typeof found.size !== 'object') {
    throw notAReport(path, `it lacks ${[...missing, 'size'][0]}`);
  }
  return found as ReportResult;
}

function notAReport(path: string, why: string): FxqError {
  return new FxqError(
    'E_DATA',
    `${path} is not a report of fxq: ${why}`,
    'Give a file written by fxq report --reporter json=FILE.',
  );
}
