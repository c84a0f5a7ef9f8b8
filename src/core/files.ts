/** Files written whole or not at all: a temporary name beside the target, then a rename. */
import { randomUUID } from 'node:crypto';
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
    EEXIST: 'a part of the path is not a folder',
    ENOSPC: 'no space left on the device',
    EROFS: 'the file system is read-only',
    ERR_FS_FILE_TOO_LARGE: 'it is larger than 2 GiB (large models need external data)',
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

export interface OutputFile {
  readonly path: string;
  readonly chunks: Iterable<Uint8Array | string>;
}

/**
 * Writes chunks to `path` through a temporary file in the same folder and a rename, so that an interrupt leaves either
 * the old file or the new one.
 */
export function writeOutput(path: string, chunks: Iterable<Uint8Array | string>): void {
  writeOutputs([{ path, chunks }]);
}

/** Writes files that belong together: each is complete under a temporary name before the first takes its own, in order. */
export function writeOutputs(files: readonly OutputFile[]): void {
  const written: { path: string; temporary: string }[] = [];
  try {
    for (const { path, chunks } of files) {
      const temporary = join(dirname(path), `.${basename(path)}.${randomUUID().slice(0, 8)}.tmp`);
      written.push({ path, temporary });
      explained(path, () => writeWhole(temporary, chunks));
    }
    for (const { path, temporary } of written) explained(path, () => renameSync(temporary, path));
  } finally {
    for (const { temporary } of written) if (existsSync(temporary)) rmSync(temporary);
  }
}

/** Turns a failed system call into an error about the file the user named. */
function explained(path: string, action: () => void): void {
  try {
    action();
  } catch (error) {
    if (error instanceof FxqError) throw error;
    throw new FxqError(
      'E_OUTPUT',
      `cannot write ${path}: ${reason(error)}`,
      'Choose another path for the output.',
      { cause: error },
    );
  }
}

function writeWhole(path: string, chunks: Iterable<Uint8Array | string>): void {
  makeFolder(dirname(path));
  const file = openSync(path, 'w');
  try {
    for (const chunk of chunks) writeAll(file, typeof chunk === 'string' ? Buffer.from(chunk) : chunk);
    fsyncSync(file);
  } finally {
    closeSync(file);
  }
}

/** Bytes written at once; system calls do not take more than 2 GiB. */
const WRITE_LIMIT = 2 ** 30;

/** The folder and those above it. One at a time: where a file system refuses with ENOENT, `recursive` never returns. */
function makeFolder(path: string): void {
  if (existsSync(path)) return;
  makeFolder(dirname(path));
  mkdirSync(path);
}

function writeAll(file: number, bytes: Uint8Array): void {
  for (let done = 0; done < bytes.length;)
    done += writeSync(file, bytes, done, Math.min(WRITE_LIMIT, bytes.length - done));
}
