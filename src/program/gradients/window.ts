/** Windows of convolutions and pooling with every pad explicit, whatever `auto_pad` and `ceil_mode` say. */
import { FxqError } from '../../core/index.js';
import {
  describeNode,
  intAttribute,
  intsAttribute,
  stringAttribute,
  type Dim,
  type Node,
} from '../../onnx/index.js';

/** A window along each spatial axis. */
export interface ExplicitWindow {
  readonly kernel: readonly number[];
  readonly strides: readonly number[];
  readonly dilations: readonly number[];
  /** All beginnings, then all ends. */
  readonly pads: readonly number[];
}

/**
 * The window of a Conv or pooling node on an input of the given spatial size.
 *
 * @throws FxqError E_UNSUPPORTED where the pads follow from a size that is not known
 */
export function explicitWindow(node: Node, size: readonly Dim[], kernel: readonly number[]): ExplicitWindow {
  const rank = kernel.length;
  const ones = new Array<number>(rank).fill(1);
  const strides = intsAttribute(node, 'strides', ones);
  const dilations = intsAttribute(node, 'dilations', ones);
  const extents = kernel.map((k, i) => (k - 1) * (dilations[i] ?? 1) + 1);
  const axes = extents.map((extent, i) =>
    axisPads(node, i, { size: size[i] ?? null, extent, stride: strides[i] ?? 1, rank }),
  );
  return {
    kernel,
    strides,
    dilations,
    pads: [...axes.map(([begin]) => begin), ...axes.map(([, end]) => end)],
  };
}

interface Axis {
  readonly size: Dim;
  readonly extent: number;
  readonly stride: number;
  readonly rank: number;
}

function axisPads(node: Node, i: number, { size, extent, stride, rank }: Axis): [number, number] {
  const mode = stringAttribute(node, 'auto_pad', 'NOTSET');
  if (mode === 'SAME_UPPER' || mode === 'SAME_LOWER') {
    // ⌈size/stride⌉ outputs; an odd pad is larger at the end (UPPER) or at the beginning (LOWER).
    const remainder = stride === 1 ? 1 : knownSize(node, size) % stride || stride;
    const total = Math.max(extent - remainder, 0);
    const small = Math.floor(total / 2);
    return mode === 'SAME_UPPER' ? [small, total - small] : [total - small, small];
  }
  const pads = mode === 'VALID' ? [] : intsAttribute(node, 'pads', []);
  const begin = pads[i] ?? 0;
  const end = pads[i + rank] ?? 0;
  if (intAttribute(node, 'ceil_mode', 0) === 0 || stride === 1) return [begin, end];
  // The last window may hang over the end; one that would start there is not taken.
  const length = knownSize(node, size);
  const room = length + begin + end - extent;
  const last = Math.ceil(room / stride);
  const count = last * stride >= length + begin ? last : last + 1;
  return [begin, end + (count - 1) * stride - room];
}

function knownSize(node: Node, size: Dim): number {
  if (typeof size === 'number') return size;
  throw new FxqError(
    'E_UNSUPPORTED',
    `the pads of ${describeNode(node)} follow from a spatial size that is not known before running`,
    'Fix the symbolic dimensions of the model.',
  );
}

/** What the last window leaves over at the end of each axis: the output padding that restores the input's size. */
export function leftOver(window: ExplicitWindow, size: readonly number[]): number[] {
  return size.map((length, i) => {
    const { kernel, strides, dilations, pads } = window;
    const extent = ((kernel[i] ?? 1) - 1) * (dilations[i] ?? 1) + 1;
    return (length + (pads[i] ?? 0) + (pads[i + size.length] ?? 0) - extent) % (strides[i] ?? 1);
  });
}
