/** The whole result as JSON; the same object that `--json` prints. */
import { type ReportResult } from '../result.js';

export function json(result: ReportResult): string {
  return `${JSON.stringify(result, null, 2)}\n`;
}
