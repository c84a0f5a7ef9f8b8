/** Tensors as a model stores them: reading their elements, and wrapping host tensors. */
import { closeSync, openSync, readSync } from 'node:fs';
import { FxqError } from '../core/index.js';
import { sizeOf, storedBytes, unpack, type Tensor } from '../tensor/index.js';
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

/** Bytes the tensor's elements take in the model file. */
export function tensorBytes(stored: StoredTensor): number {
  if (stored.source.kind === 'external') return stored.source.length;
  if (stored.dtype === undefined || stored.dtype === 'string') return 0;
  return storedBytes(stored.dtype, sizeOf(stored.dims));
}

/** The raw bytes of an external tensor. */
export function readExternal(
  source: { file: string; offset: number; length: number },
  name: string,
): Uint8Array {
  const bytes = new Uint8Array(source.length);
  let file: number;
  try {
    file = openSync(source.file, 'r');
  } catch (error) {
    throw new FxqError(
      'E_EXTERNAL_DATA',
      `external data of ${name} cannot be opened: ${source.file}`,
      'Keep the external data file beside the model, under the name the model gives.',
      { cause: error },
    );
  }
  try {
    let done = 0;
    while (done < bytes.length) {
      const got = readSync(file, bytes, done, bytes.length - done, source.offset + done);
      if (got === 0) {
        throw new FxqError(
          'E_EXTERNAL_DATA',
          `external data of ${name} is truncated: ${source.file} ends ${bytes.length - done} bytes too early`,
          'Copy the external data file again.',
        );
      }
      done += got;
    }
  } finally {
    closeSync(file);
  }
  return bytes;
}
