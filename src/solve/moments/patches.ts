/** X and Y of a layer as graph: im2col inside the runtime, on a lattice of output positions. */
import { required } from '../../core/index.js';
import { withAttributes, type GraphEditor, type Node } from '../../onnx/index.js';
import { tensor, type Tensor } from '../../tensor/index.js';
import { type WeightedLayer } from '../layers.js';
import { matrixSize } from '../weight-layout.js';
import { type Lattice } from './lattice.js';

/** Where a layer's X comes from, for inputs of known rank. */
export interface PatchPlan {
  readonly layer: WeightedLayer;
  readonly inputRank: number;
  readonly lattice: Lattice;
  /** Begin and end pads of a Conv, `auto_pad` resolved. */
  readonly pads: readonly number[];
}

/** Graph input: one random non-negative integer an axis, from which every lattice takes its offset. */
export const PHASE = 'fxq_lattice_phase';
export const PHASE_AXES = 3;

/** X̂ᵀ, [groups, cols, rows]. */
export function emitInputs(editor: GraphEditor, plan: PatchPlan): string {
  const { layer } = plan;
  const { cols } = matrixSize(layer.layout);
  return layer.patches.kind === 'window'
    ? channelsFirst(editor, emitWindows(editor, plan), layer.layout.groups, cols)
    : channelsLast(editor, layer.input, plan, cols, layer.patches.kind === 'columns');
}

/** Yᵀ of the same positions, [groups, out, rows], from a value shaped like the layer's output. */
export function emitOutputs(editor: GraphEditor, plan: PatchPlan, value: string): string {
  const { groups, out } = plan.layer.layout;
  return fromOutput(editor, plan, value, groups, out);
}

/** By node name of the layer, one tensor a batch: √w of every output position, with one channel. */
export type RowWeights = ReadonlyMap<string, readonly Tensor[]>;

/** One number for each of the same positions, [1, 1, rows], from a value like the layer's output with one channel. */
export function emitRowWeights(editor: GraphEditor, plan: PatchPlan, value: string): string {
  return fromOutput(editor, plan, value, 1, 1);
}

function fromOutput(
  editor: GraphEditor,
  plan: PatchPlan,
  value: string,
  groups: number,
  channels: number,
): string {
  const axis = outputAxis(plan.layer);
  return axis === 1
    ? channelsFirst(editor, onLattice(editor, value, plan.lattice, 2), groups, channels)
    : channelsLast(editor, value, plan, channels, axis === -2);
}

/** The axis of a layer's output channels: 1 of images, else the last one, or the second last where the weight is left. */
export function outputAxis({ patches, weightInput }: WeightedLayer): 1 | -1 | -2 {
  if (patches.kind === 'window') return 1;
  return weightInput === 0 ? -2 : -1;
}

export function ints(editor: GraphEditor, ...values: number[]): string {
  return editor.addInitializer('fxq_ints', tensor('int64', [values.length], values.map(BigInt)));
}

/** [N, groups·channels, positions…] to [groups, channels, rows]. */
function channelsFirst(editor: GraphEditor, value: string, groups: number, channels: number): string {
  const split = editor.emit('Reshape', [value, ints(editor, 0, groups, channels, -1)]);
  const turned = editor.emit('Transpose', [split], { perm: [1, 2, 0, 3] });
  return editor.emit('Reshape', [turned, ints(editor, groups, channels, -1)]);
}

/** […, channels], or […, channels, columns] where they are second last, to [1, channels, rows]. */
function channelsLast(
  editor: GraphEditor,
  value: string,
  plan: PatchPlan,
  channels: number,
  isSecondLast: boolean,
): string {
  const axes = Array.from({ length: plan.inputRank }, (_, i) => i);
  const swapped = [...axes.slice(0, -2), ...axes.slice(-2).reverse()];
  const last = isSecondLast ? editor.emit('Transpose', [value], { perm: swapped }) : value;
  const flat = editor.emit('Reshape', [last, ints(editor, -1, channels)]);
  const turned = editor.emit('Transpose', [onLattice(editor, flat, plan.lattice, 0)], { perm: [1, 0] });
  return editor.emit('Unsqueeze', [turned, ints(editor, 0)]);
}

const isWhole = (lattice: Lattice): boolean => lattice.every((step) => step === 1);

/** Every `step`-th element along the axes from `first`, from the offset of this run. */
function onLattice(editor: GraphEditor, value: string, lattice: Lattice, first: number): string {
  if (isWhole(lattice)) return value;
  const ends = lattice.map(() => Number.MAX_SAFE_INTEGER);
  const axes = lattice.map((_, i) => first + i);
  return editor.emit('Slice', [
    value,
    offsets(editor, lattice),
    ints(editor, ...ends),
    ints(editor, ...axes),
    ints(editor, ...lattice),
  ]);
}

/** phase mod step, [axes]. */
function offsets(editor: GraphEditor, lattice: Lattice): string {
  const phase = editor.emit('Slice', [PHASE, ints(editor, 0), ints(editor, lattice.length)]);
  return editor.emit('Mod', [phase, ints(editor, ...lattice)]);
}

/**
 * im2col as a depthwise Conv with one-hot kernels: [N, C, …] to [N, C·K, …]. A lattice becomes a larger stride over a
 * shifted input, so that positions left out cost nothing; the shift is a Pad whose begin may be negative.
 */
function emitWindows(editor: GraphEditor, { layer, lattice, pads }: PatchPlan): string {
  const patches = layer.patches;
  if (patches.kind !== 'window') return layer.input;
  const channels = layer.layout.groups * layer.layout.in;
  const weight = editor.addInitializer('fxq_one_hot', oneHot(channels, patches.kernel, patches.transposed));
  const unfold = (input: string, attributes: Parameters<typeof withAttributes>[1]): string => {
    const node: Node = {
      ...layer.node,
      inputs: [input, weight],
      outputs: [editor.uniqueName('fxq_patches')],
      name: editor.uniqueName('fxq_unfold'),
    };
    const added = editor.add(withAttributes(node, { ...attributes, group: channels }));
    return required(added.outputs[0], 'patches');
  };
  if (patches.transposed || isWhole(lattice)) return onLattice(editor, unfold(layer.input, {}), lattice, 2);
  const zeros = lattice.map(() => 0);
  const shift = editor.emit('Mul', [offsets(editor, lattice), ints(editor, ...patches.strides)]);
  const shifts = editor.emit('Concat', [ints(editor, 0, 0), shift, ints(editor, 0, 0, ...zeros)], {
    axis: 0,
  });
  const whole = ints(editor, 0, 0, ...pads.slice(0, lattice.length), 0, 0, ...pads.slice(lattice.length));
  const shifted = editor.emit('Pad', [layer.input, editor.emit('Sub', [whole, shifts])]);
  return unfold(shifted, {
    pads: [...zeros, ...zeros],
    auto_pad: 'NOTSET',
    strides: lattice.map((step, i) => step * (patches.strides[i] ?? 1)),
  });
}

/** Kernel k of every channel is 1 at position k: [channels·K, 1, …] for Conv, [channels, K, …] for ConvTranspose. */
function oneHot(channels: number, kernel: readonly number[], transposed: boolean): Tensor {
  const positions = kernel.reduce((product, k) => product * k, 1);
  const data = new Float32Array(channels * positions * positions);
  for (let c = 0; c < channels; c++)
    for (let k = 0; k < positions; k++) data[(c * positions + k) * positions + k] = 1;
  return tensor(
    'float32',
    transposed ? [channels, positions, ...kernel] : [channels * positions, 1, ...kernel],
    data,
  );
}
