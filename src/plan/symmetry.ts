/** Which formats keep their zero point at 0. */
import { parseFormat } from '../formats/index.js';

/**
 * Whether a format used for an activation is symmetric: its grid is mirrored around 0 (`int8-narrow`), or it allows no
 * zero point. A plain `int8` or `uint8` activation is asymmetric, as in onnxruntime's own tools.
 */
export function isSymmetric(format: string): boolean {
  if (format === 'float' || format === 'dynamic') return false;
  const { affine, low, high } = parseFormat(format);
  return !affine || low === -high;
}

/** Whether a format used for a weight is symmetric: all signed ones, because integer kernels want a zero point of 0. */
export function isSymmetricWeight(format: string): boolean {
  const { affine, signed } = parseFormat(format);
  return !affine || signed;
}
