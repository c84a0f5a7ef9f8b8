/** Second moments as graph: patches of a layer's input, their Gram matrix and column sums, inside the tapped model. */
import { GraphEditor, withAttributes, type Node } from '../onnx/index.js';
import { tensor, type Tensor } from '../tensor/index.js';
import { type Lattice } from './lattice.js';
import { type WeightedLayer } from './layers.js';

/** Names of the outputs one tap adds to the graph. */
export interface TapOutputs {
  /** X̂ᵀX̂, [groups, cols, cols]. */
  readonly gram: string;
  /** Column sums of X̂, [groups, cols]. */
  readonly sum: string;
  /** YᵀX̂ [groups, out, cols], column sums of Y and Y² [groups, out]; where a target was given. */
  readonly target?: { readonly product: string; readonly sum: string; readonly energy: string };
  /** Rows of X̂ of this run, a scalar. */
  readonly rows: string;
}

export interface Tap {
  readonly layer: WeightedLayer;
  /** Dimensions of the input and the output of the layer in the run. */
  readonly inputRank: number;
  readonly lattice: Lattice;
  /** Begin and end pads of a Conv with `auto_pad` resolved. */
  readonly pads: readonly number[];
  /** Value of the graph that holds Y, bias included. */
  readonly target?: string;
}

/** Graph input with one random non-negative integer an axis, from which every lattice takes its offset. */
export const PHASE = 'fxq_lattice_phase';

/** Adds the nodes of one tap; the names are to become graph outputs. */
export function emitTap(editor: GraphEditor, tap: Tap): TapOutputs {
  const ints = (...values: number[]): string =>
    editor.addInitializer('fxq_ints', tensor('int64', [values.length], values.map(BigInt)));
  const { layer, lattice } = tap;
  const { groups, out, in: depth, kernel } = layer.layout;
  const cols = depth * kernel;
  const x = matrixOfPatches(editor, ints, tap, groups, cols);
  const outputs = products(editor, ints, x, x, groups, 'gram');
  const rows = editor.emit('Div', [editor.emit('Size', [x]), scalar(editor, groups * cols)], {}, 'fxq_rows');
  const base = {
    gram: outputs,
    sum: editor.emit('ReduceSum', [x, ints(2)], { keepdims: 0 }, 'fxq_sum'),
    rows,
  };
  if (tap.target === undefined) return base;
  const picked =
    layer.patches.kind === 'window' ? onLattice(editor, ints, tap.target, lattice, 2) : tap.target;
  const y = channelMajor(editor, ints, picked, tap, groups, out, layer.patches.kind === 'window');
  const square = editor.emit('Mul', [y, y]);
  return {
    ...base,
    target: {
      product: products(editor, ints, y, x, groups, 'product'),
      sum: editor.emit('ReduceSum', [y, ints(2)], { keepdims: 0 }, 'fxq_target_sum'),
      energy: editor.emit('ReduceSum', [square, ints(2)], { keepdims: 0 }, 'fxq_energy'),
    },
  };
}

type Ints = (...values: number[]) => string;

function scalar(editor: GraphEditor, value: number): string {
  return editor.addInitializer('fxq_scalar', tensor('int64', [], [BigInt(value)]));
}

/** a·bᵀ group by group: [groups, ·, rows] times [groups, ·, rows]. */
function products(
  editor: GraphEditor,
  ints: Ints,
  a: string,
  b: string,
  groups: number,
  name: string,
): string {
  if (groups > 1) {
    const turned = editor.emit('Transpose', [b], { perm: [0, 2, 1] });
    return editor.emit('MatMul', [a, turned], {}, `fxq_${name}`);
  }
  const flat = (v: string): string => editor.emit('Squeeze', [v, ints(0)]);
  const left = flat(a);
  return editor.emit('Gemm', [left, a === b ? left : flat(b)], { transB: 1 }, `fxq_${name}`);
}

/** X̂ᵀ as [groups, cols, rows]. */
function matrixOfPatches(editor: GraphEditor, ints: Ints, tap: Tap, groups: number, cols: number): string {
  const { layer } = tap;
  if (layer.patches.kind !== 'window')
    return channelMajor(editor, ints, layer.input, tap, groups, cols, false);
  return channelMajor(editor, ints, windows(editor, ints, tap), tap, groups, cols, true);
}

/**
 * [N, groups·channels, positions…] (`channelsFirst`) or […, channels] or [.., channels, columns] as
 * [groups, channels, rows].
 */
function channelMajor(
  editor: GraphEditor,
  ints: Ints,
  value: string,
  tap: Tap,
  groups: number,
  channels: number,
  channelsFirst: boolean,
): string {
  if (channelsFirst) {
    const split = editor.emit('Reshape', [value, ints(0, groups, channels, -1)]);
    const turned = editor.emit('Transpose', [split], { perm: [1, 2, 0, 3] });
    return editor.emit('Reshape', [turned, ints(groups, channels, -1)]);
  }
  let rows = value;
  if (tap.layer.patches.kind === 'columns') {
    const axes = Array.from({ length: tap.inputRank }, (_, i) => i);
    rows = editor.emit('Transpose', [value], { perm: [...axes.slice(0, -2), ...axes.slice(-2).reverse()] });
  }
  const flat = onLattice(editor, ints, editor.emit('Reshape', [rows, ints(-1, channels)]), tap.lattice, 0);
  return editor.emit('Unsqueeze', [editor.emit('Transpose', [flat], { perm: [1, 0] }), ints(0)]);
}

/** Every `step`-th element along the axes from `first`, starting at the phase of this run. */
function onLattice(
  editor: GraphEditor,
  ints: Ints,
  value: string,
  lattice: Lattice,
  first: number,
  scale: readonly number[] = [],
): string {
  if (lattice.every((step) => step === 1)) return value;
  const axes = lattice.map((_, i) => first + i);
  const stride = lattice.map((step, i) => step * (scale[i] ?? 1));
  return editor.emit('Slice', [
    value,
    offsets(editor, ints, lattice, scale),
    ints(...lattice.map(() => Number.MAX_SAFE_INTEGER)),
    ints(...axes),
    ints(...stride),
  ]);
}

/** phase mod step, times the stride of the convolution, [axes]. */
function offsets(editor: GraphEditor, ints: Ints, lattice: Lattice, scale: readonly number[]): string {
  const phase = editor.emit('Slice', [PHASE, ints(0), ints(lattice.length)]);
  const offset = editor.emit('Mod', [phase, ints(...lattice)]);
  return scale.length === 0 ? offset : editor.emit('Mul', [offset, ints(...scale)]);
}

/**
 * im2col as a depthwise Conv with one-hot kernels: [N, C, …] to [N, C·K, …]. A lattice becomes a larger stride over a
 * padded and shifted input, so that positions left out cost nothing.
 */
function windows(editor: GraphEditor, ints: Ints, tap: Tap): string {
  const { layer, lattice, pads } = tap;
  const patches = layer.patches;
  if (patches.kind !== 'window') return layer.input;
  const channels = layer.layout.groups * layer.layout.in;
  const weight = editor.addInitializer('fxq_one_hot', oneHot(channels, patches.kernel, patches.transposed));
  const template = (input: string): Node => ({
    ...layer.node,
    inputs: [input, weight],
    outputs: [editor.uniqueName('fxq_patches')],
    name: editor.uniqueName('fxq_patches_node'),
  });
  const add = (node: Node): string => editor.add(node).outputs[0] as string;
  if (patches.transposed || lattice.every((step) => step === 1)) {
    const all = add(withAttributes(template(layer.input), { group: channels }));
    return onLattice(editor, ints, all, lattice, 2);
  }
  const spatial = lattice.length;
  const padded = pads.every((p) => p === 0)
    ? layer.input
    : editor.emit('Pad', [layer.input, ints(0, 0, ...pads.slice(0, spatial), 0, 0, ...pads.slice(spatial))]);
  const start = offsets(editor, ints, lattice, patches.strides);
  const shifted = editor.emit('Slice', [
    padded,
    start,
    ints(...lattice.map(() => Number.MAX_SAFE_INTEGER)),
    ints(...lattice.map((_, i) => 2 + i)),
  ]);
  const attributes = {
    group: channels,
    pads: pads.map(() => 0),
    auto_pad: 'NOTSET',
    strides: lattice.map((step, i) => step * (patches.strides[i] as number)),
  };
  return add(withAttributes(template(shifted), attributes));
}

/** Kernel k of every channel is 1 at tap k; [channels·K, 1, …] for Conv, [channels, K, …] for ConvTranspose. */
function oneHot(channels: number, kernel: readonly number[], transposed: boolean): Tensor {
  const taps = kernel.reduce((product, k) => product * k, 1);
  const data = new Float32Array(channels * taps * taps);
  for (let c = 0; c < channels; c++) for (let k = 0; k < taps; k++) data[(c * taps + k) * taps + k] = 1;
  return tensor('float32', transposed ? [channels, taps, ...kernel] : [channels * taps, 1, ...kernel], data);
}
