/** The safetensors layout: 8 bytes of header length, a JSON header, then the arrays without gaps. */
import { type FxqError } from '../core/index.js';
import { pack, sizeOf, unpack, type DType, type Tensor } from '../tensor/index.js';

/** Element types under their safetensors names; those that fxq writes. */
const NAMES = { float32: 'F32', float64: 'F64', uint16: 'U16', int32: 'I32' } as const satisfies Partial<
  Record<DType, string>
>;

export type StoredType = keyof typeof NAMES;

export interface TensorFile {
  /** Free text by key, under `__metadata__`. */
  readonly metadata: Readonly<Record<string, string>>;
  readonly arrays: ReadonlyMap<string, Tensor>;
}

interface Entry {
  readonly dtype: string;
  readonly shape: readonly number[];
  readonly data_offsets: readonly [number, number];
}

/** Bytes of a file: arrays ordered by width, then name. */
export function encodeSafetensors({ arrays, metadata }: TensorFile): Uint8Array {
  // Wide elements first, so that every array is aligned without padding, which the format does not allow.
  const ordered = [...arrays].sort(
    ([a, x], [b, y]) => y.data.BYTES_PER_ELEMENT - x.data.BYTES_PER_ELEMENT || (a < b ? -1 : 1),
  );
  const entries: Record<string, Entry | Record<string, string>> = { __metadata__: metadata };
  let end = 0;
  for (const [name, { dtype, dims, data }] of ordered) {
    entries[name] = {
      dtype: NAMES[dtype as StoredType],
      shape: dims,
      data_offsets: [end, (end += data.byteLength)],
    };
  }
  const text = Buffer.from(JSON.stringify(entries));
  const header = Buffer.alloc(Math.ceil(text.length / 8) * 8, ' ');
  text.copy(header);
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(header.length));
  return Buffer.concat([length, header, ...ordered.map(([, t]) => pack(t.dtype, t.data))]);
}

/**
 * Reads a file; arrays of other element types are left out.
 *
 * @param bad makes the error for a file that is damaged or of another kind
 */
export function decodeSafetensors(bytes: Uint8Array, bad: (why: string) => FxqError): TensorFile {
  const file = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const start = file.length < 8 ? Infinity : 8 + Number(file.readBigUInt64LE(0));
  if (start > file.length) throw bad('it is cut off, or another kind of file');
  let header: Record<string, Entry> & { __metadata__?: Record<string, string> };
  try {
    header = JSON.parse(file.toString('utf8', 8, start)) as typeof header;
  } catch {
    throw bad('its header is not JSON');
  }
  const { __metadata__: metadata = {}, ...entries } = header;
  const arrays = new Map<string, Tensor>();
  for (const [name, { dtype: type, shape, data_offsets }] of Object.entries(entries)) {
    const dtype = (Object.keys(NAMES) as StoredType[]).find((d) => NAMES[d] === type);
    if (dtype === undefined) continue;
    const [from, to] = data_offsets;
    if (start + to > file.length) throw bad(`it is cut off in array ${name}`);
    const data = unpack(dtype, file.subarray(start + from, start + to), sizeOf(shape));
    arrays.set(name, { dtype, dims: shape, data });
  }
  return { metadata, arrays };
}
