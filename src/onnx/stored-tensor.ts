/** Tensors as a model stores them: reading their elements, and wrapping host tensors. */
import { FxqError } from '../core/index.js';
import { pack, sizeOf, storedBytes, unpack, type Tensor } from '../tensor/index.js';
import { readExternal, readExternalChunks } from './external-data.js';
import { type StoredTensor } from './model.js';

/** Wraps a host tensor for use as initializer or attribute. */
export function storeTensor(tensor: Tensor): StoredTensor {
  return { dtype: tensor.dtype, dims: tensor.dims, source: { kind: 'memory', tensor } };
}

/**
 * The tensor's elements on the host; external ones are read from their file.
 *
 * @throws FxqError E_EXTERNAL_DATA when the file is missing or too short, E_UNSUPPORTED for string tensors
 */
export function loadTensor(stored: StoredTensor, name = 'tensor'): Tensor {
  const { source, dtype, dims } = stored;
  if (source.kind === 'memory') return source.tensor;
  if (source.kind === 'opaque' || dtype === undefined || dtype === 'string') {
    throw new FxqError(
      'E_UNSUPPORTED',
      `${name} has an element type fxq cannot compute with (${String(dtype)})`,
    );
  }
  return { dtype, dims, data: unpack(dtype, readExternal(source, name), sizeOf(dims)) };
}

/** Bytes the tensor's elements take in the model file; 0 for string tensors. */
export function tensorBytes(stored: StoredTensor): number {
  if (stored.source.kind === 'external') return stored.source.length;
  if (stored.source.kind === 'opaque' || stored.dtype === undefined || stored.dtype === 'string') return 0;
  return storedBytes(stored.dtype, sizeOf(stored.dims));
}

/** The tensor's elements as stored, in pieces: an external tensor is never held whole. */
export function* tensorChunks(stored: StoredTensor, name: string): Iterable<Uint8Array> {
  if (stored.source.kind === 'external') yield* readExternalChunks(stored.source, name);
  else {
    const { dtype, data } = loadTensor(stored, name);
    yield pack(dtype, data);
  }
}
