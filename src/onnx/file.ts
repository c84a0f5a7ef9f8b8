/** Model files: reading with checks that name what is wrong, writing whole or not at all. */
import { basename, dirname, join } from 'node:path';
import { FxqError, readInput, writeOutputs } from '../core/index.js';
import { decodeModel } from './decode.js';
import { encodeModel } from './encode.js';
import { layoutDataFile, realTarget } from './external-data.js';
import { checkModel } from './invariants.js';
import { storedTensors, type Model } from './model.js';
import { decodeModelProto, encodeModelProto, isSet, type ModelProto } from './proto.js';
import { tensorBytes, tensorChunks } from './stored-tensor.js';
import { type Placement } from './tensor-proto.js';

/**
 * Reads and checks a model file. External data is located, and read only when it is needed.
 *
 * @throws FxqError E_FILE, E_MODEL, E_OPSET, E_GRAPH or E_EXTERNAL_DATA, naming file, node or tensor
 */
export function readModel(path: string): Model {
  const model = parseModel(readInput(path, 'model'), path, path);
  checkModel(model, path);
  return model;
}

/**
 * Decodes model bytes without checking the graph.
 *
 * @param what name for error messages
 * @param path file the bytes came from; external data is looked for beside it
 */
export function parseModel(bytes: Uint8Array, what = 'model', path?: string): Model {
  const bad = (why: string, cause?: unknown): FxqError =>
    new FxqError('E_MODEL', `${what} is not an ONNX model: ${why}`, 'Give a binary .onnx file.', { cause });
  if (bytes.length === 0) throw bad('it is empty');
  let proto: ModelProto;
  try {
    proto = decodeModelProto(bytes);
  } catch (error) {
    throw bad(
      looksLikeText(bytes) ? 'it is a text file' : `${(error as Error).message} (truncated or damaged)`,
      error,
    );
  }
  if (!isSet(proto, 'graph') || !isSet(proto, 'irVersion')) throw bad('it holds no graph');
  return decodeModel(proto, { what, path });
}

function looksLikeText(bytes: Uint8Array): boolean {
  return bytes
    .subarray(0, 256)
    .every((b) => b === 9 || b === 10 || b === 13 || (b >= 32 && b < 127) || b >= 0x80);
}

/** Messages end at 2 GiB; beyond this many bytes of elements, tensors go to a file of their own. */
export const MESSAGE_LIMIT = 1_900_000_000;
/** Tensors below this size stay in the model even when others are external. */
const EXTERNAL_MINIMUM = 1024;

function needsExternalData(model: Model): boolean {
  let bytes = 0;
  for (const stored of storedTensors(model.graph)) bytes += tensorBytes(stored);
  return bytes > MESSAGE_LIMIT;
}

/** Serializes a model into one message, external tensors included unless `placement` says where they are. */
export function serializeModel(model: Model, placement?: Placement): Uint8Array {
  return Buffer.concat(encodeModelProto(encodeModel(model, placement)));
}

export interface WriteOptions {
  /** Puts tensors of 1 KiB and more into `<file>.data`; by default only when the model would not fit into one message. */
  readonly externalData?: boolean;
}

/**
 * Writes a model, external data beside it when asked for or needed; external tensors are copied in pieces. Model and
 * data take their names only when both are written, the data first.
 *
 * @throws FxqError E_OUTPUT when a file cannot be written, or holds elements of this very model
 */
export function writeModel(model: Model, path: string, options: WriteOptions = {}): void {
  const dataPath = join(dirname(path), `${basename(path)}.data`);
  const external = options.externalData ?? needsExternalData(model);
  const data = layoutDataFile(basename(dataPath));
  const placement: Placement = (name, stored) =>
    external && tensorBytes(stored) >= EXTERNAL_MINIMUM
      ? data.place(tensorBytes(stored), () => tensorChunks(stored, name))
      : undefined;
  refuseOwnSources(model, external ? [path, dataPath] : [path]);
  const message = { path, chunks: encodeModelProto(encodeModel(model, placement)) };
  writeOutputs(external ? [{ path: dataPath, chunks: data.chunks() }, message] : [message]);
}

/** The model refers to its external data by place: replacing such a file would make the model in memory wrong. */
function refuseOwnSources(model: Model, paths: readonly string[]): void {
  const targets = new Map(paths.map((path) => [realTarget(path), path]));
  for (const { source } of storedTensors(model.graph)) {
    const target = source.kind === 'external' ? targets.get(source.file) : undefined;
    if (target !== undefined)
      throw new FxqError(
        'E_OUTPUT',
        `${target} holds the external data of the model that is being written`,
        'Write to another file name or folder.',
      );
  }
}
