/** The sidecar: packed sparse weights of a model as a file in the safetensors format. */
import { FxqError, canonicalJson, readInput, writeOutput } from '../../core/index.js';
import { type WeightLayout } from '../weight-layout.js';
import { unpackWeight, type PackedWeight } from './packed.js';
import { formatPattern, parsePattern } from './pattern.js';

export interface SidecarWeight {
  /** Initializer of the float model. */
  readonly initializer: string;
  readonly packed: PackedWeight;
  /** As in the quantized model: one a tensor, a channel or a block. */
  readonly scale: Float32Array;
}

interface Entry {
  readonly dtype: 'U8' | 'F32';
  readonly shape: readonly number[];
  readonly data_offsets: readonly [number, number];
}

/** What the metadata says of one weight. */
interface Description {
  readonly initializer: string;
  readonly pattern: string;
  readonly bits: number;
  readonly signed: boolean;
  readonly layout: WeightLayout;
}

/**
 * Writes the packed weights of a model. Layout: 8 bytes little-endian header length, a JSON header padded with spaces to
 * a multiple of 8, then the data: for weight i the tensors `i.values`, `i.indices` (bytes, see {@link PackedWeight})
 * and `i.scale` (float32). `__metadata__.weights` is a JSON list with initializer, pattern, bits, signedness and layout.
 */
export function writeSidecar(path: string, weights: readonly SidecarWeight[]): void {
  const entries: Record<string, Entry> = {};
  const chunks: Uint8Array[] = [];
  let offset = 0;
  const add = (name: string, dtype: Entry['dtype'], bytes: Uint8Array, length: number): void => {
    entries[name] = { dtype, shape: [length], data_offsets: [offset, offset + bytes.length] };
    chunks.push(bytes);
    offset += bytes.length;
  };
  // float32 data first: it stays aligned to its size whatever lengths follow.
  weights.forEach(({ scale }, i) => add(`${i}.scale`, 'F32', bytesOf(scale), scale.length));
  weights.forEach(({ packed }, i) => {
    add(`${i}.values`, 'U8', packed.values, packed.values.length);
    add(`${i}.indices`, 'U8', packed.indices, packed.indices.length);
  });
  const list = weights.map(({ initializer, packed: { pattern, bits, signed, layout } }): Description => ({
    initializer,
    pattern: formatPattern(pattern),
    bits,
    signed,
    layout,
  }));
  const metadata = { format: 'fxq-sparse', version: '1', weights: canonicalJson(list) };
  const header = canonicalJson({ __metadata__: metadata, ...entries });
  const text = new TextEncoder().encode(header.padEnd(Math.ceil(Buffer.byteLength(header) / 8) * 8));
  const length = new Uint8Array(8);
  new DataView(length.buffer).setBigUint64(0, BigInt(text.length), true);
  writeOutput(path, [length, text, ...chunks]);
}

/**
 * Reads a sidecar.
 *
 * @throws FxqError E_FILE, or E_DATA when it is damaged or something else
 */
export function readSidecar(path: string): SidecarWeight[] {
  const bytes = readInput(path, 'the sparse weights');
  try {
    const length = Number(bytes.readBigUInt64LE(0));
    const header = JSON.parse(bytes.toString('utf8', 8, 8 + length)) as Record<string, Entry> & {
      readonly __metadata__: { readonly format: string; readonly version: string; readonly weights: string };
    };
    if (header.__metadata__.format !== 'fxq-sparse' || header.__metadata__.version !== '1')
      throw new Error('not a file of packed sparse weights, version 1');
    const data = bytes.subarray(8 + length);
    const read = (name: string): Uint8Array => {
      const [from, to] = header[name]?.data_offsets ?? [0, -1];
      if (!(from >= 0 && from <= to && to <= data.length)) throw new Error(`${name} is not in the file`);
      return Uint8Array.from(data.subarray(from, to));
    };
    const list = JSON.parse(header.__metadata__.weights) as Description[];
    return list.map(({ initializer, pattern, bits, signed, layout }, i): SidecarWeight => {
      const scale = read(`${i}.scale`);
      const packed = {
        layout,
        pattern: parsePattern(pattern),
        bits,
        signed,
        values: read(`${i}.values`),
        indices: read(`${i}.indices`),
      };
      unpackWeight(packed);
      return { initializer, packed, scale: new Float32Array(scale.buffer) };
    });
  } catch (error) {
    throw new FxqError('E_DATA', `${path} cannot be read: ${(error as Error).message}`, 'Write it again.', {
      cause: error,
    });
  }
}

function bytesOf(values: Float32Array): Uint8Array {
  return new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
}
