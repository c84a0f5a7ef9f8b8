/** reporters: the result in every form it is asked for, by public name. Each is a function of the result alone. */
import { type ReportResult } from '../result.js';
import { githubActions } from './github-actions.js';
import { html } from './html.js';
import { json } from './json.js';
import { junit } from './junit.js';
import { markdown } from './markdown.js';
import { sarif } from './sarif.js';
import { text } from './text.js';

export const REPORTERS = {
  text: (result) => text(result),
  json,
  markdown,
  html,
  junit,
  sarif,
  'github-actions': githubActions,
} as const satisfies Record<string, (result: ReportResult) => string>;

export type ReporterName = keyof typeof REPORTERS;

export { formatSection, text, type Paint } from './text.js';
