/** Taps: sums of products of a layer's inputs and outputs, computed where the activations are. */
import { required } from '../../core/index.js';
import { type GraphEditor } from '../../onnx/index.js';
import { tensor } from '../../tensor/index.js';
import { type WeightedLayer } from '../layers.js';
import { matrixSize } from '../weight-layout.js';
import { chooseLattice } from './lattice.js';
import { emitInputs, emitOutputs, emitRowWeights, ints, type PatchPlan } from './patches.js';

/** Names of the outputs a tap adds to its graph; all are sums over the rows of one run. */
export interface TapOutputs {
  /** X̂ᵀX̂, [groups, cols, cols]. */
  readonly gram: string;
  /** Σ X̂, [groups, cols]. */
  readonly sum: string;
  /** Number of rows, a scalar. */
  readonly rows: string;
  readonly target?: TargetOutputs;
}

export interface TargetOutputs {
  /** YᵀX̂, [groups, out, cols]. */
  readonly product: string;
  /** Σ Y, [groups, out]. */
  readonly sum: string;
  /** Σ Y², [groups, out]. */
  readonly energy: string;
}

/** The names of a tap's outputs, in a list. */
export function namesOfTap({ gram, sum, rows, target }: TapOutputs): string[] {
  return [gram, sum, rows, ...(target === undefined ? [] : [target.product, target.sum, target.energy])];
}

/**
 * How to get X of a layer: which positions, and which pads.
 *
 * @param shapes        dimensions of the layer's input and output, for one sample
 * @param samples       number of samples that will be run
 * @param rowsPerColumn rows wanted for every column of X; positions are thinned where there are more
 */
export function planPatches(
  layer: WeightedLayer,
  shapes: ReadonlyMap<string, readonly number[]>,
  samples: number,
  rowsPerColumn: number,
): PatchPlan {
  const input = required(shapes.get(layer.input), `the shape of ${layer.input}`);
  const output = required(shapes.get(layer.output), `the shape of ${layer.output}`);
  const wanted = rowsPerColumn * matrixSize(layer.layout).cols;
  const isWindow = layer.patches.kind === 'window';
  const rows = input.reduce((product, d) => product * d, 1) / layer.layout.in;
  const lattice = chooseLattice(isWindow ? output.slice(2) : [rows], samples, wanted);
  return { layer, inputRank: input.length, lattice, pads: padsOf(layer, input.slice(2), output.slice(2)) };
}

/** Pads of a window, those of `auto_pad` from the shapes: total = (out − 1)·stride + (k − 1)·dilation + 1 − in. */
function padsOf({ patches }: WeightedLayer, input: readonly number[], output: readonly number[]): number[] {
  if (patches.kind !== 'window') return [];
  const { kernel, strides, dilations, pads, autoPad } = patches;
  if (autoPad === 'NOTSET' || autoPad === '') return [...pads];
  if (autoPad === 'VALID') return pads.map(() => 0);
  const totals = kernel.map((k, i) => {
    const reach = ((output[i] ?? 1) - 1) * (strides[i] ?? 1) + (k - 1) * (dilations[i] ?? 1) + 1;
    return Math.max(0, reach - (input[i] ?? 0));
  });
  const less = totals.map((total) => Math.floor(total / 2));
  const more = totals.map((total) => Math.ceil(total / 2));
  return autoPad === 'SAME_LOWER' ? [...more, ...less] : [...less, ...more];
}

/** Values that moments are to take in, shaped like the layer's output. */
export interface TapValues {
  /** Y. */
  readonly target?: string;
  /** √w of every position, with one channel: all sums count rows by w. */
  readonly rootWeights?: string;
}

/** Adds the nodes of one tap; the names are to become graph outputs. */
export function emitTap(
  editor: GraphEditor,
  plan: PatchPlan,
  { target, rootWeights }: TapValues = {},
): TapOutputs {
  const { groups } = plan.layer.layout;
  const { cols } = matrixSize(plan.layer.layout);
  const root = rootWeights === undefined ? undefined : emitRowWeights(editor, plan, rootWeights);
  const weighted = (v: string): string => (root === undefined ? v : editor.emit('Mul', [v, root]));
  // Both factors of a product get √w, so it stays exactly symmetric; sums need it twice.
  const sumRows = (v: string, name: string): string =>
    editor.emit('ReduceSum', [weighted(v), ints(editor, 2)], { keepdims: 0 }, name);
  const x = weighted(emitInputs(editor, plan));
  const size = editor.addInitializer('fxq_size', tensor('int64', [], [BigInt(groups * cols)]));
  const inputs = {
    gram: gramOf(editor, x, groups, cols),
    sum: sumRows(x, 'fxq_sum'),
    rows:
      root === undefined
        ? editor.emit('Div', [editor.emit('Size', [x]), size], {}, 'fxq_rows')
        : editor.emit('ReduceSumSquare', [root], { keepdims: 0 }, 'fxq_rows'),
  };
  if (target === undefined) return inputs;
  const y = weighted(emitOutputs(editor, plan, target));
  return {
    ...inputs,
    target: {
      product: products(editor, y, x, groups, 'fxq_product'),
      sum: sumRows(y, 'fxq_target_sum'),
      energy: editor.emit(
        'ReduceSum',
        [editor.emit('Mul', [y, y]), ints(editor, 2)],
        { keepdims: 0 },
        'fxq_energy',
      ),
    },
  };
}

/** Matrices narrower than this are multiplied whole: pieces of them cost more calls than they save arithmetic. */
const WORTH_HALVES = 64;

/**
 * x·xᵀ group by group, [groups, cols, rows] to [groups, cols, cols]. The halves of x make three products instead of four,
 * since one of those is the transpose of another.
 */
function gramOf(editor: GraphEditor, x: string, groups: number, cols: number): string {
  if (groups > 1 || cols < WORTH_HALVES) return products(editor, x, x, groups, 'fxq_gram');
  const half = Math.floor(cols / 2);
  const part = (from: number, to: number): string =>
    editor.emit('Slice', [x, ints(editor, from), ints(editor, to), ints(editor, 1)]);
  const [first, second] = [part(0, half), part(half, cols)];
  const corner = products(editor, first, second, 1, 'fxq_corner');
  const beside = (a: string, b: string): string => editor.emit('Concat', [a, b], { axis: 1 });
  const upper = beside(products(editor, first, first, 1, 'fxq_square'), corner);
  const turned = editor.emit('Transpose', [corner], { perm: [1, 0] });
  const lower = beside(turned, products(editor, second, second, 1, 'fxq_square'));
  return editor.emit('Concat', [upper, lower], { axis: 0 }, 'fxq_gram');
}

/** a·bᵀ group by group: [groups, m, rows] and [groups, n, rows] to [groups, m, n]. */
function products(editor: GraphEditor, a: string, b: string, groups: number, name: string): string {
  if (groups > 1)
    return editor.emit('MatMul', [a, editor.emit('Transpose', [b], { perm: [0, 2, 1] })], {}, name);
  const left = editor.emit('Squeeze', [a, ints(editor, 0)]);
  const right = a === b ? left : editor.emit('Squeeze', [b, ints(editor, 0)]);
  return editor.emit('Gemm', [left, right], { transB: 1 }, name);
}
