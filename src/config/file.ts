/** The configuration file: found, read, and each key's place in it. */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { LineCounter, isMap, isNode, isScalar, isSeq, parseDocument } from 'yaml';
import { FxqError, readInput } from '../core/index.js';
import { isSettings, type Settings } from './sources.js';

/** Names looked for in the working folder, in this order. */
export const CONFIG_FILES = ['fxq.config.yaml', 'fxq.config.yml', 'fxq.config.json'] as const;

export interface ConfigFile {
  readonly path: string;
  readonly values: Settings;
  /** Line of a key, counted from 1. */
  line(path: readonly PropertyKey[]): number | undefined;
}

/** The configuration file of a folder, or undefined when it has none. */
export function findConfigFile(folder: string): string | undefined {
  return CONFIG_FILES.map((name) => join(folder, name)).find((path) => existsSync(path));
}

/**
 * Reads a YAML or JSON file (JSON is YAML).
 *
 * @throws FxqError E_FILE when it cannot be read, E_CONFIG with the line when it is no YAML or no mapping
 */
export function readConfigFile(path: string): ConfigFile {
  const lines = new LineCounter();
  const document = parseDocument(readInput(path, 'configuration').toString('utf8'), {
    lineCounter: lines,
    prettyErrors: false,
  });
  const [problem] = document.errors;
  if (problem !== undefined) {
    const { line } = lines.linePos(problem.pos[0]);
    throw new FxqError('E_CONFIG', `${path}:${line}: ${problem.message}`, 'Correct the YAML.');
  }
  const values: unknown = document.toJS() ?? {};
  if (!isSettings(values)) {
    throw new FxqError(
      'E_CONFIG',
      `${path} holds no mapping of keys to values`,
      'Write keys such as model:, quantize: and report: at the top level.',
    );
  }
  const line = (keys: readonly PropertyKey[]): number | undefined => {
    // The key's own place, or that of the nearest one above it.
    for (let length = keys.length; length > 0; length--) {
      const start = placeOf(document.getIn(keys.slice(0, length - 1), true), keys[length - 1]);
      if (start !== undefined) return lines.linePos(start).line;
    }
    return undefined;
  };
  return { path, values, line };
}

/** Offset of a key in a mapping, or of an entry in a list. */
function placeOf(parent: unknown, key: PropertyKey | undefined): number | undefined {
  const node: unknown = isMap(parent)
    ? parent.items.find((pair) => isScalar(pair.key) && pair.key.value === key)?.key
    : isSeq(parent)
      ? parent.items[Number(key)]
      : undefined;
  return isNode(node) ? node.range?.[0] : undefined;
}
