/** NumPy `.npy` (format versions 1–3, read and write) and `.npz` archives. */
import { unzipSync, zipSync } from 'fflate';
import { FxqError, canonicalJson } from '../core/index.js';
import { createArray, storedBytes, unpack, type DType } from './dtype.js';
import { sizeOf, type Tensor } from './tensor.js';

const MAGIC = [0x93, 0x4e, 0x55, 0x4d, 0x50, 0x59];

const DESCRIPTORS: Partial<Record<DType, string>> = {
  float32: '<f4',
  float64: '<f8',
  float16: '<f2',
  int8: '|i1',
  uint8: '|u1',
  int16: '<i2',
  uint16: '<u2',
  int32: '<i4',
  uint32: '<u4',
  int64: '<i8',
  uint64: '<u8',
  bool: '|b1',
};

const BY_DESCRIPTOR = new Map(
  Object.entries(DESCRIPTORS).map(([dtype, text]) => [text.slice(1), dtype as DType]),
);

/** What precedes the elements of a `.npy` file. */
export interface NpyHeader {
  readonly dtype: DType;
  readonly dims: readonly number[];
  readonly fortranOrder: boolean;
  /** Byte at which the elements start. */
  readonly start: number;
}

function badNpy(file: string, why: string): FxqError {
  return new FxqError(
    'E_DATA',
    `${file} is not a readable .npy array: ${why}`,
    'Save it with numpy.save (C order, numeric).',
  );
}

/**
 * Reads the header of a `.npy` file.
 *
 * @param bytes at least the header, which is rarely longer than 128 bytes and never than 64 KiB in practice
 * @param file  name for error messages
 * @throws FxqError E_DATA for anything that is not a little-endian numeric array
 */
export function readNpyHeader(bytes: Uint8Array, file: string): NpyHeader {
  if (MAGIC.some((byte, i) => bytes[i] !== byte)) throw badNpy(file, 'the magic string is missing');
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const wide = (bytes[6] ?? 1) > 1;
  const from = wide ? 12 : 10;
  if (bytes.length < from) throw badNpy(file, 'the header is cut off');
  const start = from + (wide ? view.getUint32(8, true) : view.getUint16(8, true));
  const header = new TextDecoder('latin1').decode(bytes.subarray(from, start));
  const descriptor = /'descr':\s*'([^']+)'/.exec(header)?.[1];
  const shape = /'shape':\s*\(([^)]*)\)/.exec(header)?.[1];
  if (descriptor === undefined || shape === undefined)
    throw badNpy(file, 'the header has no element type or shape');
  const dtype = BY_DESCRIPTOR.get(descriptor.slice(1));
  if (dtype === undefined) throw badNpy(file, `element type ${descriptor} is not supported`);
  if (descriptor.startsWith('>')) throw badNpy(file, 'big-endian arrays are not supported');
  const dims = shape
    .split(',')
    .map((s) => s.trim())
    .filter((s) => s !== '')
    .map(Number);
  if (!dims.every((d) => Number.isSafeInteger(d) && d >= 0)) throw badNpy(file, `its shape is (${shape})`);
  return { dtype, dims, fortranOrder: /'fortran_order':\s*True/.test(header), start };
}

/**
 * Reads one `.npy` array.
 *
 * @param bytes the file's content
 * @param file  name for error messages
 * @throws FxqError E_DATA for anything that is not a little-endian (or transposable) numeric array
 */
export function readNpy(bytes: Uint8Array, file: string): Tensor {
  const { dtype, dims, fortranOrder, start } = readNpyHeader(bytes, file);
  const length = sizeOf(dims);
  const expected = storedBytes(dtype, length);
  const payload = bytes.subarray(start, start + expected);
  if (payload.length < expected) {
    throw badNpy(
      file,
      `it is truncated: ${payload.length} of ${expected} bytes for shape [${dims.join(', ')}]`,
    );
  }
  const result: Tensor = { dtype, dims, data: unpack(dtype, payload, length) };
  return fortranOrder ? fromFortran(result) : result;
}

function fromFortran(t: Tensor): Tensor {
  const out = createArray(t.dtype, t.data.length);
  const index = new Array<number>(t.dims.length).fill(0);
  for (let i = 0; i < t.data.length; i++) {
    let at = 0;
    let stride = 1;
    t.dims.forEach((d, axis) => {
      at += (index[axis] ?? 0) * stride;
      stride *= d;
    });
    (out as unknown as (number | bigint)[])[i] = t.data[at] ?? 0;
    for (let axis = t.dims.length - 1; axis >= 0; axis--) {
      index[axis] = (index[axis] ?? 0) + 1;
      if ((index[axis] ?? 0) < (t.dims[axis] ?? 1)) break;
      index[axis] = 0;
    }
  }
  return { ...t, data: out };
}

/** Bytes of a version 1 `.npy` file. */
export function writeNpy(t: Tensor): Uint8Array {
  const descriptor = DESCRIPTORS[t.dtype];
  if (descriptor === undefined)
    throw new FxqError('E_INTERNAL', `internal: ${t.dtype} has no NumPy element type`);
  const shape = t.dims.length === 1 ? `(${t.dims[0]},)` : `(${t.dims.join(', ')})`;
  const text = `{'descr': '${descriptor}', 'fortran_order': False, 'shape': ${shape}, }`;
  const length = Math.ceil((10 + text.length + 1) / 64) * 64;
  const out = new Uint8Array(length + t.data.byteLength);
  out.set(MAGIC);
  out[6] = 1;
  new DataView(out.buffer).setUint16(8, length - 10, true);
  out.set(new TextEncoder().encode(text.padEnd(length - 11) + '\n'), 10);
  out.set(new Uint8Array(t.data.buffer, t.data.byteOffset, t.data.byteLength), length);
  return out;
}

/**
 * Entry of an archive in which fxq says how it was made. It is no array: NumPy lists it and leaves it alone.
 */
const RECORD = 'fxq.json';

/** Reads every array of an `.npz` archive, by name (the `.npy` suffix removed), in file order. */
export function readNpz(bytes: Uint8Array, file: string): Map<string, Tensor> {
  const entries = unzip(bytes, file, (name) => name !== RECORD);
  return new Map(
    Object.entries(entries).map(([name, content]) => [
      name.replace(/\.npy$/, ''),
      readNpy(content, `${file}:${name}`),
    ]),
  );
}

/** What fxq recorded of how an archive was made; undefined for archives of others. */
export function readNpzRecord(
  bytes: Uint8Array,
  file: string,
): Readonly<Record<string, unknown>> | undefined {
  const content = unzip(bytes, file, (name) => name === RECORD)[RECORD];
  if (content === undefined) return undefined;
  const record: unknown = JSON.parse(new TextDecoder().decode(content));
  return typeof record === 'object' && record !== null ? (record as Record<string, unknown>) : undefined;
}

function unzip(
  bytes: Uint8Array,
  file: string,
  wanted: (name: string) => boolean,
): Record<string, Uint8Array> {
  try {
    return unzipSync(bytes, { filter: ({ name }) => wanted(name) });
  } catch (error) {
    throw new FxqError(
      'E_DATA',
      `${file} is not a readable .npz archive: ${(error as Error).message}`,
      'Save it with numpy.savez.',
    );
  }
}

/**
 * Bytes of a deflated `.npz` archive; the same arrays give the same bytes (entries carry a fixed date).
 *
 * @param record how it was made, kept in the archive
 */
export function writeNpz(
  arrays: ReadonlyMap<string, Tensor>,
  record?: Readonly<Record<string, unknown>>,
): Uint8Array {
  const entries = [...arrays].map(([name, t]) => [`${name}.npy`, writeNpy(t)] as const);
  const facts =
    record === undefined ? [] : [[RECORD, new TextEncoder().encode(canonicalJson(record))] as const];
  return zipSync(Object.fromEntries([...entries, ...facts]), { mtime: '1980-01-01T00:00:00', level: 6 });
}
