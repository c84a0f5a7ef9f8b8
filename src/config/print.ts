/** The merged configuration as YAML, every value with its source behind it. */
import { stringify } from 'yaml';
import { isSettings, type Origins, type Settings } from './sources.js';

/** YAML that could be a configuration file itself; sources stand in comments. */
export function printConfig(values: Settings, origins: Origins): string {
  const lines = linesOf(values, origins, '');
  const width = Math.max(0, ...lines.map(({ text, source }) => (source === '' ? 0 : text.length)));
  return lines
    .map(({ text, source }) => `${source === '' ? text : `${text.padEnd(width)}  # ${source}`}\n`)
    .join('');
}

interface Line {
  readonly text: string;
  readonly source: string;
}

function linesOf(values: Settings, origins: Origins, indent: string): Line[] {
  return Object.entries(values).flatMap(([key, value]): Line[] => {
    const origin = origins[key] ?? '';
    const name = stringify(key).trimEnd();
    if (isSettings(value)) {
      const inner = typeof origin === 'string' ? {} : origin;
      return [{ text: `${indent}${name}:`, source: '' }, ...linesOf(value, inner, `${indent}  `)];
    }
    // Flow style keeps a value and its source on one line.
    const text = stringify(value, { collectionStyle: 'flow', flowCollectionPadding: false, lineWidth: 0 });
    return [
      { text: `${indent}${name}: ${text.trimEnd()}`, source: typeof origin === 'string' ? origin : '' },
    ];
  });
}
