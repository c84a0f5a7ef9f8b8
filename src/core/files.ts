/** Files written whole or not at all: a temporary name beside the target, then a rename. */
import {
  closeSync,
  existsSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  writeSync,
} from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { FxqError } from './errors.js';

function reason(error: unknown): string {
  const code = (error as { code?: string }).code;
  const words: Record<string, string> = {
    ENOENT: 'no such file or folder',
    EACCES: 'permission denied',
    EPERM: 'operation not permitted',
    EISDIR: 'it is a folder',
    ENOTDIR: 'a part of the path is not a folder',
    ENOSPC: 'no space left on the device',
    EROFS: 'the file system is read-only',
  };
  return (code && words[code]) ?? (error instanceof Error ? error.message : String(error));
}

/** Reads a file, or fails naming it and saying what it was wanted for. */
export function readInput(path: string, what: string): Buffer {
  try {
    return readFileSync(path);
  } catch (error) {
    throw new FxqError('E_FILE', `cannot read ${what} ${path}: ${reason(error)}`, 'Check the path.', {
      cause: error,
    });
  }
}

/**
 * Writes chunks to `path` through a temporary file in the same folder and a rename, so that an interrupt leaves either
 * the old file or the new one.
 */
export function writeOutput(path: string, chunks: Iterable<Uint8Array | string>): void {
  const folder = dirname(path);
  const temporary = join(folder, `.${basename(path)}.${process.pid}.tmp`);
  try {
    if (!existsSync(folder)) mkdirSync(folder, { recursive: true });
    const file = openSync(temporary, 'w');
    try {
      for (const chunk of chunks) writeAll(file, typeof chunk === 'string' ? Buffer.from(chunk) : chunk);
      fsyncSync(file);
    } finally {
      closeSync(file);
    }
    renameSync(temporary, path);
  } catch (error) {
    rmSync(temporary, { force: true });
    if (error instanceof FxqError) throw error;
    throw new FxqError(
      'E_OUTPUT',
      `cannot write ${path}: ${reason(error)}`,
      'Choose another output path with --out.',
      {
        cause: error,
      },
    );
  }
}

function writeAll(file: number, bytes: Uint8Array): void {
  for (let done = 0; done < bytes.length;) done += writeSync(file, bytes, done, bytes.length - done);
}
