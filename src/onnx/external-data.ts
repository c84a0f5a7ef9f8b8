/** Elements in files of their own: found only inside the model's folder, read in ranges, written aligned. */
import { closeSync, existsSync, openSync, readSync, realpathSync, statSync } from 'node:fs';
import { basename, dirname, isAbsolute, join, relative, resolve, sep } from 'node:path';
import { FxqError } from '../core/index.js';
import { type StringStringProto } from './proto.js';

/** Where a message came from: its name for error messages, and the file external data is resolved against. */
export interface Origin {
  readonly what: string;
  /** Undefined for a model that did not come from a file. */
  readonly path: string | undefined;
}

/** A byte range of a file. */
export interface ExternalRange {
  readonly kind: 'external';
  /** Real path: absolute, symbolic links resolved. */
  readonly file: string;
  readonly offset: number;
  readonly length: number;
}

/**
 * The byte range that external data entries (`location`, `offset`, `length`) name.
 *
 * @param expected bytes the tensor takes by its type and shape; undefined when unknown, then the range may be open-ended
 * @throws FxqError E_EXTERNAL_DATA when it lies outside the model's folder, is missing, too short or of another length
 */
export function locateExternal(
  entries: readonly StringStringProto[],
  expected: number | undefined,
  owner: string,
  origin: Origin,
): ExternalRange {
  const bad = (why: string, fix: string): FxqError =>
    new FxqError('E_EXTERNAL_DATA', `${origin.what}: external data of ${owner} ${why}`, fix);
  const entry = new Map(entries.map((e) => [e.key ?? '', e.value ?? '']));
  const location = entry.get('location') ?? '';
  if (origin.path === undefined)
    throw bad('cannot be found: the model did not come from a file', 'Read the model from its file.');
  const file = confinedPath(origin.path, location);
  if (file === undefined)
    throw bad(
      `points outside the model's folder: '${location}'`,
      'Move the data file into the folder of the model.',
    );
  if (!existsSync(file) || !statSync(file).isFile())
    throw bad(`is missing: ${file}`, 'Keep the data file beside the model, under the name the model gives.');

  const size = statSync(file).size;
  const offset = wholeNumber(entry.get('offset') ?? '0');
  const length = entry.has('length')
    ? wholeNumber(entry.get('length') ?? '')
    : (expected ?? size - (offset ?? 0));
  if (offset === undefined || length === undefined || (expected !== undefined && length !== expected)) {
    const range = `${entry.get('length') ?? 'all'} bytes from ${entry.get('offset') ?? 0}`;
    throw bad(
      `is inconsistent: ${range}${expected === undefined ? '' : `, but its shape takes ${expected}`}`,
      'The file is damaged; export it again.',
    );
  }
  if (length < 0 || size < offset + length)
    throw bad(
      `is cut off: ${file} has ${size} bytes, the model needs ${offset + length}`,
      'Copy the data file again.',
    );
  return { kind: 'external', file, offset, length };
}

function wholeNumber(text: string): number | undefined {
  const value = /^\d+$/.test(text) ? Number(text) : NaN;
  return Number.isSafeInteger(value) ? value : undefined;
}

/**
 * The real path of an external data location, or undefined when it leaves the model's folder. A model that is itself
 * a symbolic link (as in a hub's cache) may have its data in the folder of the link and in that of the file.
 */
function confinedPath(model: string, location: string): string | undefined {
  const real = (path: string): string => (existsSync(path) ? realpathSync(path) : resolve(path));
  const folder = real(dirname(resolve(model)));
  const wanted = resolve(folder, location);
  const actual = real(wanted);
  if (location === '' || isAbsolute(location) || !isInside(folder, wanted)) return undefined;
  return [folder, dirname(real(model))].some((base) => isInside(base, actual)) ? actual : undefined;
}

function isInside(folder: string, path: string): boolean {
  const way = relative(folder, path);
  return way !== '' && way !== '..' && !way.startsWith(`..${sep}`) && !isAbsolute(way);
}

/** Bytes read at once; system calls do not take more than 2 GiB. */
const READ_LIMIT = 2 ** 30;

/** The bytes of a range. */
export function readExternal(source: Omit<ExternalRange, 'kind'>, owner: string): Uint8Array {
  const bytes = new Uint8Array(source.length);
  readInto(bytes, source.offset, source.file, owner);
  return bytes;
}

/** The bytes of a range in pieces, so that a tensor of any size can be copied in fixed memory. */
export function* readExternalChunks(
  source: Omit<ExternalRange, 'kind'>,
  owner: string,
  chunk = 2 ** 23,
): Iterable<Uint8Array> {
  for (let done = 0; done < source.length; done += chunk) {
    const bytes = new Uint8Array(Math.min(chunk, source.length - done));
    readInto(bytes, source.offset + done, source.file, owner);
    yield bytes;
  }
}

function readInto(bytes: Uint8Array, offset: number, path: string, owner: string): void {
  const bad = (why: string, cause?: unknown): FxqError =>
    new FxqError(
      'E_EXTERNAL_DATA',
      `external data of ${owner} ${why}: ${path}`,
      'Keep the data file beside the model.',
      {
        cause,
      },
    );
  let file: number;
  try {
    file = openSync(path, 'r');
  } catch (error) {
    throw bad('cannot be opened', error);
  }
  try {
    for (let done = 0; done < bytes.length;) {
      const got = readSync(file, bytes, done, Math.min(READ_LIMIT, bytes.length - done), offset + done);
      if (got === 0) throw bad(`ends ${bytes.length - done} bytes too early`);
      done += got;
    }
  } finally {
    closeSync(file);
  }
}

/** Start of each tensor in a data file, in bytes: what runtimes need to map it into memory. */
const ALIGNMENT = 64;

/** Lays tensors one after the other into a data file. */
export interface DataFileLayout {
  /** Reserves space for the next tensor; returns the entries that refer to it. */
  place(length: number, chunks: () => Iterable<Uint8Array>): StringStringProto[];
  /** The bytes of the file, padding included. */
  chunks(): Iterable<Uint8Array>;
}

/** A data file called `name`, to be filled. Nothing is held but what produces each tensor's bytes. */
export function layoutDataFile(name: string): DataFileLayout {
  const parts: (() => Iterable<Uint8Array>)[] = [];
  let end = 0;
  return {
    place(length, chunks) {
      const padding = (ALIGNMENT - (end % ALIGNMENT)) % ALIGNMENT;
      const offset = end + padding;
      parts.push(() => [new Uint8Array(padding)], chunks);
      end = offset + length;
      return [
        { key: 'location', value: name },
        { key: 'offset', value: String(offset) },
        { key: 'length', value: String(length) },
      ];
    },
    *chunks() {
      for (const part of parts) yield* part();
    },
  };
}

/** Where a path's file really is: its folder with links resolved, the name as given (a rename replaces a link). */
export function realTarget(path: string): string {
  const folder = dirname(resolve(path));
  return join(existsSync(folder) ? realpathSync(folder) : folder, basename(path));
}
