/** Windows of convolution and pooling nodes, with padding resolved. */
import { intAttribute, intsAttribute, stringAttribute, type Dim, type Node } from '../../onnx/index.js';
import { refuse } from './lowering.js';
import { type Window } from './program.js';

/**
 * @param kernel spatial extents, or undefined to read `kernel_shape`
 * @param input  dimensions of the input, batch and channels first
 */
export function windowOf(node: Node, input: readonly Dim[], kernel?: readonly number[]): Window {
  const extents = kernel ?? intsAttribute(node, 'kernel_shape') ?? [];
  if (extents.length < 1 || extents.length > 2)
    throw refuse(node, `it has ${extents.length} spatial axes instead of one or two`);
  if (intAttribute(node, 'ceil_mode', 0) !== 0) throw refuse(node, 'ceil_mode is set');
  const ones = extents.map(() => 1);
  const strides = intsAttribute(node, 'strides', ones);
  const dilations = intsAttribute(node, 'dilations', ones);
  return { kernel: extents, strides, dilations, pads: padsOf(node, input, extents, strides, dilations) };
}

function padsOf(
  node: Node,
  input: readonly Dim[],
  kernel: readonly number[],
  strides: readonly number[],
  dilations: readonly number[],
): readonly number[] {
  const mode = stringAttribute(node, 'auto_pad', 'NOTSET');
  const zeros = kernel.map(() => 0);
  if (mode === 'NOTSET') return intsAttribute(node, 'pads', [...zeros, ...zeros]);
  if (mode === 'VALID') return [...zeros, ...zeros];
  const totals = kernel.map((k, i) => {
    const extent = input[i + 2];
    if (typeof extent !== 'number') throw refuse(node, `auto_pad ${mode} needs known spatial dimensions`);
    const stride = strides[i] ?? 1;
    const covered = (dilations[i] ?? 1) * (k - 1) + 1;
    return Math.max(0, (Math.ceil(extent / stride) - 1) * stride + covered - extent);
  });
  const small = totals.map((total) => Math.floor(total / 2));
  const large = totals.map((total, i) => total - (small[i] ?? 0));
  return mode === 'SAME_UPPER' ? [...small, ...large] : [...large, ...small];
}
