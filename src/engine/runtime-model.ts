/** A model in memory in the form the runtime takes: one message, and the tensors that are not in it. */
import { dirname, relative, sep } from 'node:path';
import {
  MESSAGE_LIMIT,
  serializeModel,
  storedTensors,
  tensorBytes,
  tensorChunks,
  type Model,
  type Placement,
} from '../onnx/index.js';

export interface RuntimeModel {
  readonly bytes: Uint8Array;
  /** Session configuration entries that go with it. */
  readonly config?: Readonly<Record<string, string>>;
  /** Tensors handed over in memory, under the names that the message refers to. */
  readonly externalData?: readonly { readonly path: string; readonly data: Uint8Array }[];
}

/** Tensors below this size stay in the message even when others do not. */
const EXTERNAL_MINIMUM = 1024;

/**
 * Serializes a model for the runtime. Tensors in files stay there, and the runtime maps them. When the others are too
 * large for one message, all initializers are handed over in memory: the runtime takes only one of the two ways.
 *
 * @param limit bytes of elements that fit into the message
 */
export function runtimeModel(model: Model, limit = MESSAGE_LIMIT): RuntimeModel {
  const files: string[] = [];
  let inMemory = 0;
  for (const stored of storedTensors(model.graph)) {
    if (stored.source.kind === 'external') files.push(stored.source.file);
    else inMemory += tensorBytes(stored);
  }
  if (inMemory > limit) return handOver(model);
  return files.length === 0 ? { bytes: serializeModel(model) } : referTo(files, model);
}

/** The deepest folder that holds all files with tensors of the model; undefined where there are none. */
export function externalFolder(model: Model): string | undefined {
  const folders = [...storedTensors(model.graph)].flatMap(({ source }) =>
    source.kind === 'external' ? [dirname(source.file)] : [],
  );
  return folders.length === 0 ? undefined : folders.reduce(commonFolder);
}

function referTo(files: readonly string[], model: Model): RuntimeModel {
  const folder = files.map((file) => dirname(file)).reduce(commonFolder);
  const placement: Placement = (_name, { source }) =>
    source.kind === 'external'
      ? entries(relative(folder, source.file).split(sep).join('/'), source.offset, source.length)
      : undefined;
  const config = { 'session.model_external_initializers_file_folder_path': folder };
  return { bytes: serializeModel(model, placement), config };
}

function handOver(model: Model): RuntimeModel {
  const externalData: { path: string; data: Uint8Array }[] = [];
  const placement: Placement = (name, stored) => {
    const length = tensorBytes(stored);
    // The runtime looks up initializers of the main graph only.
    if (length < EXTERNAL_MINIMUM || model.graph.initializers.get(name) !== stored) return undefined;
    const path = `tensor-${externalData.length}`;
    externalData.push({ path, data: wholeOf(tensorChunks(stored, name)) });
    return entries(path, 0, length);
  };
  return { bytes: serializeModel(model, placement), externalData };
}

function wholeOf(chunks: Iterable<Uint8Array>): Uint8Array {
  const all = [...chunks];
  return all.length === 1 && all[0] !== undefined ? all[0] : Buffer.concat(all);
}

function entries(location: string, offset: number, length: number): { key: string; value: string }[] {
  return [
    { key: 'location', value: location },
    { key: 'offset', value: String(offset) },
    { key: 'length', value: String(length) },
  ];
}

/** The deepest folder that holds both. */
function commonFolder(a: string, b: string): string {
  while (b !== a && !b.startsWith(a.endsWith(sep) ? a : a + sep)) a = dirname(a);
  return a;
}
