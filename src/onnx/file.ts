/** Model files: reading with checks that name what is wrong, writing whole or not at all. */
import { basename, dirname, join } from 'node:path';
import { FxqError, readInput, writeOutput } from '../core/index.js';
import { pack, sizeOf, storedBytes } from '../tensor/index.js';
import { decodeModel, folderOf } from './decode.js';
import { encodeModel } from './encode.js';
import { checkModel } from './invariants.js';
import { type Model, type StoredTensor } from './model.js';
import { decodeModelProto, encodeModelProto, isSet, type ModelProto } from './proto.js';
import { loadTensor, tensorBytes } from './stored-tensor.js';

/**
 * Reads and checks a model file.
 *
 * @throws FxqError E_FILE, E_MODEL, E_OPSET, E_GRAPH or E_EXTERNAL_DATA, naming file, node or tensor
 */
export function readModel(path: string): Model {
  const bytes = readInput(path, 'model');
  const model = parseModel(bytes, path, folderOf(path));
  checkModel(model, path);
  return model;
}

/** Decodes model bytes without checking the graph. `folder` resolves external data. */
export function parseModel(bytes: Uint8Array, what = 'model', folder?: string): Model {
  if (bytes.length === 0)
    throw new FxqError('E_MODEL', `${what} is empty`, 'Copy or export the model again.');
  let proto: ModelProto;
  try {
    proto = decodeModelProto(bytes);
  } catch (error) {
    const why = looksLikeText(bytes)
      ? 'it is a text file'
      : `${(error as Error).message} (truncated or damaged)`;
    throw new FxqError('E_MODEL', `${what} is not an ONNX model: ${why}`, 'Give a binary .onnx file.', {
      cause: error,
    });
  }
  if (!isSet(proto, 'graph') || !isSet(proto, 'irVersion')) {
    throw new FxqError(
      'E_MODEL',
      `${what} is not an ONNX model: it holds no graph`,
      'Give a binary .onnx file.',
    );
  }
  return decodeModel(proto, folder);
}

function looksLikeText(bytes: Uint8Array): boolean {
  return bytes
    .subarray(0, 256)
    .every((b) => b === 9 || b === 10 || b === 13 || (b >= 32 && b < 127) || b >= 0x80);
}

/** Messages end at 2 GiB; beyond this many bytes of elements, tensors go to an external file. */
const INLINE_LIMIT = 1_900_000_000;
/** Tensors below this size stay in the model even when others are external. */
const EXTERNAL_MINIMUM = 1024;
const ALIGNMENT = 64;

export interface WriteOptions {
  /** Puts initializers into `<file>.data`; by default only when the model would not fit into one message. */
  readonly externalData?: boolean;
}

/** Serializes a model into one message. */
export function serializeModel(model: Model): Uint8Array {
  return encodeModelProto(encodeModel(model));
}

/**
 * Writes a model, external data beside it when asked for or needed; streams external tensors one at a time.
 * The data file is written first, so that a model file never points to data that is not there.
 */
export function writeModel(model: Model, path: string, options: WriteOptions = {}): void {
  const external = options.externalData ?? totalBytes(model) > INLINE_LIMIT;
  if (!external) {
    writeOutput(path, [serializeModel(model)]);
    return;
  }
  const dataName = `${basename(path)}.data`;
  const chunks: (() => Uint8Array)[] = [];
  let offset = 0;
  const proto = encodeModel(model, (name, stored) => {
    if (stored.source.kind === 'opaque' || tensorBytes(stored) < EXTERNAL_MINIMUM) return undefined;
    const padding = (ALIGNMENT - (offset % ALIGNMENT)) % ALIGNMENT;
    const at = offset + padding;
    const length = tensorBytes(stored);
    chunks.push(
      () => new Uint8Array(padding),
      () => bytesOf(stored, name),
    );
    offset = at + length;
    return [
      { key: 'location', value: dataName },
      { key: 'offset', value: String(at) },
      { key: 'length', value: String(length) },
    ];
  });
  writeOutput(join(dirname(path), dataName), lazily(chunks));
  writeOutput(path, [encodeModelProto(proto)]);
}

function* lazily(chunks: readonly (() => Uint8Array)[]): Iterable<Uint8Array> {
  for (const chunk of chunks) yield chunk();
}

function bytesOf(stored: StoredTensor, name: string): Uint8Array {
  const t = loadTensor(stored, name);
  return pack(t.dtype, t.data);
}

function totalBytes(model: Model): number {
  let sum = 0;
  for (const stored of model.graph.initializers.values()) {
    if (stored.dtype !== undefined && stored.dtype !== 'string')
      sum += storedBytes(stored.dtype, sizeOf(stored.dims));
  }
  return sum;
}
