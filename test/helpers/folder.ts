/** A folder for one test file, removed when its tests are done. */
import { mkdtempSync, realpathSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll } from 'vitest';

/** Creates the folder; call at the top of a test file. Returns its real path. */
export function temporaryFolder(): string {
  const folder = realpathSync(mkdtempSync(join(tmpdir(), 'fxq-test-')));
  afterAll(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}
