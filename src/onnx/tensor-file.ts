/** Single tensors as serialized messages: the `.pb` files of ONNX test data. */
import { FxqError } from '../core/index.js';
import { type StoredTensor } from './model.js';
import { decodeTensorProto, type TensorProto } from './proto.js';
import { decodeTensor } from './tensor-proto.js';

/**
 * Decodes a serialized TensorProto.
 *
 * @param what name for error messages
 * @throws FxqError E_MODEL when it is none
 */
export function parseTensor(
  bytes: Uint8Array,
  what: string,
): { readonly name: string; readonly stored: StoredTensor } {
  let proto: TensorProto;
  try {
    proto = decodeTensorProto(bytes);
  } catch (error) {
    throw new FxqError(
      'E_MODEL',
      `${what} is not an ONNX tensor: ${(error as Error).message} (truncated or damaged)`,
      'Give a serialized TensorProto.',
      { cause: error },
    );
  }
  return {
    name: proto.name ?? '',
    stored: decodeTensor(proto, 'the tensor', { what, path: undefined }, true),
  };
}
