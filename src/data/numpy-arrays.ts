/** NumPy arrays as sources: one file, an archive, a folder with a file an input, a folder with a file a sample. */
import { closeSync, openSync, readSync, readdirSync, statSync } from 'node:fs';
import { basename, join } from 'node:path';
import { FxqError, readInput } from '../core/index.js';
import {
  dtypeBits,
  readNpy,
  readNpyHeader,
  readNpz,
  readNpzRecord,
  sizeOf,
  unpack,
  type Tensor,
} from '../tensor/index.js';
import { bytesOf, type SourceArray } from './source.js';

/** Headers are shorter than this. */
const HEADER_BYTES = 2 ** 16;

/** Samples are read from disk in pieces of about this size. */
const CHUNK_BYTES = 2 ** 20;

/** The samples of a `.npy` file, read in pieces, so that memory does not grow with the file. */
export function npyArray(path: string): SourceArray {
  const header = readNpyHeader(readRange(path, 0, HEADER_BYTES), path);
  const name = basename(path, '.npy');
  if (header.fortranOrder) return fromTensor(name, path, readNpy(readInput(path, 'data'), path));
  const { dtype, dims, start } = header;
  const [count, sample] = splitDims(dims, path);
  const bytes = (sizeOf(sample) * dtypeBits(dtype)) / 8;
  const found = statSync(path).size - start;
  if (found < bytes * count) {
    const why = `it is truncated: ${found} of ${bytes * count} bytes for shape [${dims.join(', ')}]`;
    throw new FxqError('E_DATA', `${path} is not a readable .npy array: ${why}`, 'Copy the file again.');
  }
  const perChunk = Math.max(1, Math.floor(CHUNK_BYTES / Math.max(bytes, 1)));
  let chunk: { from: number; to: number; data: Uint8Array } = { from: 0, to: 0, data: new Uint8Array(0) };
  const bytesAt = (index: number): Uint8Array => {
    if (index < chunk.from || index >= chunk.to) {
      const to = Math.min(index + perChunk, count);
      chunk = { from: index, to, data: readRange(path, start + index * bytes, (to - index) * bytes) };
    }
    return chunk.data.subarray((index - chunk.from) * bytes, (index - chunk.from + 1) * bytes);
  };
  return {
    name,
    label: path,
    count,
    dtype,
    dims: sample,
    whole: false,
    image: false,
    read: (index) => ({ dtype, dims: sample, data: unpack(dtype, bytesAt(index), sizeOf(sample)) }),
    bytes: bytesAt,
  };
}

function readRange(path: string, offset: number, length: number): Uint8Array {
  const bytes = new Uint8Array(length);
  let file: number;
  try {
    file = openSync(path, 'r');
  } catch {
    return readInput(path, 'data');
  }
  try {
    let done = 0;
    for (let got = -1; got !== 0 && done < length; done += got)
      got = readSync(file, bytes, done, length - done, offset + done);
    return bytes.subarray(0, done);
  } finally {
    closeSync(file);
  }
}

function splitDims(dims: readonly number[], label: string): [count: number, sample: readonly number[]] {
  const [count, ...sample] = dims;
  if (count !== undefined) return [count, sample];
  throw new FxqError(
    'E_DATA',
    `${label} is a single number; its first axis must be samples`,
    'Save an array with the samples on its first axis.',
  );
}

/** An array in memory, first axis samples. */
function fromTensor(name: string, label: string, whole: Tensor): SourceArray {
  const { dtype } = whole;
  const [count, dims] = splitDims(whole.dims, label);
  const size = sizeOf(dims);
  const read = (i: number): Tensor => ({ dtype, dims, data: whole.data.subarray(i * size, (i + 1) * size) });
  return {
    name,
    label,
    count,
    dtype,
    dims,
    whole: false,
    image: false,
    read,
    bytes: (i) => bytesOf(read(i)),
  };
}

/** Every array of an archive; it is unpacked into memory as a whole. */
export function npzArrays(path: string): SourceArray[] {
  const bytes = readInput(path, 'data');
  const synthesized = readNpzRecord(bytes, path)?.synthetic !== undefined;
  return [...readNpz(bytes, path)].map(([name, tensor]) => ({
    ...fromTensor(name, `${path}:${name}`, tensor),
    synthesized,
  }));
}

/** A folder with one `.npy` file an input. */
export function folderArrays(folder: string): SourceArray[] {
  return filesIn(folder, ['.npy']).map((file) => npyArray(join(folder, file)));
}

/** A folder with one file a sample: `.npz` with one array an input, or `.npy` for a single input. */
export function sampleFileArrays(folder: string): SourceArray[] {
  const files = filesIn(folder, ['.npz', '.npy']);
  const load = (sample: number): Map<string, Tensor> => {
    const path = join(folder, files[sample] ?? '');
    const content = readInput(path, 'sample');
    return path.endsWith('.npz') ? readNpz(content, path) : new Map([['', readNpy(content, path)]]);
  };
  let held = { sample: -1, arrays: new Map<string, Tensor>() };
  const read = (name: string, sample: number): Tensor => {
    if (held.sample !== sample) held = { sample, arrays: load(sample) };
    const found = held.arrays.get(name);
    if (found !== undefined) return found;
    throw new FxqError(
      'E_DATA',
      `${join(folder, files[sample] ?? '')} has no array '${name}', which ${files[0]} has`,
      'Give every sample file the same arrays.',
    );
  };
  return [...(files.length === 0 ? [] : load(0))].map(([name, first]) => ({
    name: name === '' ? basename(folder) : name,
    label: name === '' ? folder : `${folder}:${name}`,
    count: files.length,
    dtype: first.dtype,
    dims: files.length === 1 ? first.dims : undefined,
    whole: false,
    image: false,
    labelOf: (sample: number) => join(folder, files[sample] ?? ''),
    read: (sample: number) => read(name, sample),
    bytes: (sample: number) => bytesOf(read(name, sample)),
  }));
}

/** Files of a folder with one of the endings, by name; numbers in names count as numbers. */
export function filesIn(folder: string, endings: readonly string[]): string[] {
  return readdirSync(folder)
    .filter((name) => endings.some((ending) => name.toLowerCase().endsWith(ending)))
    .sort(byName);
}

const collator = new Intl.Collator('en', { numeric: true });

export function byName(a: string, b: string): number {
  return collator.compare(a, b) || (a < b ? -1 : 1);
}
