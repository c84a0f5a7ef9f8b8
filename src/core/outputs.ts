/** What outputs must not replace: checked before anything runs, because a long run whose result has no place is lost. */
import { existsSync, realpathSync, statSync } from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';
import { FxqError } from './errors.js';

/**
 * Refuses outputs that would replace a file the run reads, a folder, or each other.
 *
 * @param inputs paths by what they are to the user ("the float model"); folders may hold outputs
 * @throws FxqError E_OUTPUT naming both
 */
export function checkOutputs(
  outputs: readonly string[],
  inputs: readonly (readonly [what: string, path: string | undefined])[],
): void {
  const read = new Map(inputs.flatMap(([what, path]) => (path === undefined ? [] : [[placeOf(path), what]])));
  const written = new Set<string>();
  for (const output of outputs) {
    const place = placeOf(output);
    const what = read.get(place);
    if (what !== undefined) throw refused(`the output would overwrite ${what} ${output}`);
    if (written.has(place)) throw refused(`two outputs would both be written to ${output}`);
    if (existsSync(output) && statSync(output).isDirectory())
      throw refused(`cannot write ${output}: it is a folder`);
    written.add(place);
  }
}

/** One name for each file, whatever links lead to it. */
function placeOf(path: string): string {
  if (existsSync(path)) return realpathSync(path);
  const folder = dirname(path);
  return existsSync(folder) ? join(realpathSync(folder), basename(path)) : resolve(path);
}

function refused(message: string): FxqError {
  return new FxqError('E_OUTPUT', message, 'Choose another path for the output.');
}
