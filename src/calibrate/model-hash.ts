/** The content hash of a model: graph, attributes and weights, wherever the weights are stored. */
import { createHash } from 'node:crypto';
import { serializeModel, tensorChunks, type Model, type StoredTensor } from '../onnx/index.js';

/** SHA-256 of a model; weights in external files are read in pieces. */
export function hashModel(model: Model): string {
  const digest = (name: string, stored: StoredTensor): string => {
    const hash = createHash('sha256');
    for (const chunk of tensorChunks(stored, name)) hash.update(chunk);
    return hash.digest('hex');
  };
  const message = serializeModel(model, (name, stored) =>
    stored.source.kind === 'opaque' ? undefined : [{ key: 'sha256', value: digest(name, stored) }],
  );
  return createHash('sha256').update(message).digest('hex');
}
