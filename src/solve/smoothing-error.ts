/** What smoothing an activation does to the products that read it, measured: one small graph run for every candidate. */
import { required } from '../core/index.js';
import { openSession, type Session } from '../engine/index.js';
import { parseFormat } from '../formats/index.js';
import { GraphEditor, graph, model, value, withGraph } from '../onnx/index.js';
import { isSymmetric, isSymmetricWeight } from '../plan/index.js';
import { tensor, toNumbers, type Tensor } from '../tensor/index.js';

/** A product X·W and the grids both are to be rounded to. */
export interface SmoothedProduct {
  /** [depth, outputs]. */
  readonly weight: Tensor;
  /** Integer format, or `float`. */
  readonly weights: string;
  /** One scale for all, one an output, or one for so many inputs of an output. */
  readonly granularity: 'tensor' | 'channel' | { readonly block: number };
  readonly activations: string;
}

/** Measures `‖Q(X/s)·Q(sW) − XW‖² / ‖XW‖²`. */
export interface SmoothingMeter {
  error(x: Tensor, scales: Float64Array): Promise<number>;
  release(): Promise<void>;
}

/** Opens the meter of one product; scales of X cover its extremes, those of W its largest magnitude. */
export async function openSmoothingMeter(product: SmoothedProduct, threads: number): Promise<SmoothingMeter> {
  const [depth = 1, outputs = 1] = product.weight.dims;
  const frame = graph({
    inputs: [
      value('x', 'float32', ['rows', depth]),
      value('s', 'float32', [depth]),
      value('w', 'float32', [depth, outputs]),
    ],
    outputs: [value('error', 'float32', [])],
    nodes: [],
  });
  const editor = new GraphEditor(frame);
  const column = editor.addInitializer('column', tensor('int64', [2], [BigInt(depth), 1n]));
  const ws = editor.emit('Mul', ['w', editor.emit('Reshape', ['s', column])]);
  const xs = editor.emit('Div', ['x', 's']);
  const xq = product.activations === 'float' ? xs : roundActivation(editor, xs, product.activations);
  const wq = product.weights === 'float' ? ws : roundWeight(editor, ws, product);
  const exact = editor.emit('MatMul', ['x', 'w']);
  const rounded = editor.emit('MatMul', [xq, wq]);
  const squares = (v: string): string => editor.emit('ReduceSumSquare', [v], { keepdims: 0 });
  const ratio = editor.emit(
    'Div',
    [squares(editor.emit('Sub', [rounded, exact])), squares(exact)],
    {},
    'ratio',
  );
  editor.outputs = [value(ratio, 'float32', [])];
  const session: Session = await openSession(withGraph(model(frame, 21), editor.finish()), { threads });
  return {
    error: async (x, scales) => {
      const feeds = { x, s: tensor('float32', [depth], Float32Array.from(scales)), w: product.weight };
      const [error = NaN] = toNumbers(required((await session.run(feeds)).get(ratio), ratio));
      return error;
    },
    release: () => session.release(),
  };
}

const scalar = (editor: GraphEditor, number: number): string =>
  editor.addInitializer('number', tensor('float32', [], [number]));

/** Rounds to the format's grid over the extremes, 0 among them. */
function roundActivation(editor: GraphEditor, x: string, name: string): string {
  const { low, high } = parseFormat(name);
  const zero = scalar(editor, 0);
  const extreme = (op: string, limit: string): string =>
    editor.emit(limit, [editor.emit(op, [x], { keepdims: 0 }), zero]);
  const [least, most] = [extreme('ReduceMin', 'Min'), extreme('ReduceMax', 'Max')];
  if (isSymmetric(name)) {
    const reach = editor.emit('Max', [most, editor.emit('Neg', [least])]);
    return onGrid(editor, x, editor.emit('Div', [reach, scalar(editor, high)]), zero, [low, high]);
  }
  const step = editor.emit('Div', [editor.emit('Sub', [most, least]), scalar(editor, high - low)]);
  const offset = editor.emit('Sub', [scalar(editor, low), editor.emit('Div', [least, step])]);
  return onGrid(editor, x, step, editor.emit('Round', [offset]), [low, high]);
}

function roundWeight(
  editor: GraphEditor,
  w: string,
  { weights: name, granularity, weight }: SmoothedProduct,
): string {
  const { low, high } = parseFormat(name);
  const reach = reachOf(editor, editor.emit('Abs', [w]), granularity, weight.dims);
  const levels = isSymmetricWeight(name) ? high : (high - low) / 2;
  // A channel of zeros has any scale.
  const floor = editor.emit('Max', [reach, scalar(editor, 1e-30)]);
  const step = editor.emit('Div', [floor, scalar(editor, levels)]);
  return onGrid(
    editor,
    w,
    step,
    scalar(editor, 0),
    isSymmetricWeight(name) ? [low, high] : [-levels, levels],
  );
}

/** Largest magnitude of the weights that share a scale, in a shape that broadcasts over them. */
function reachOf(
  editor: GraphEditor,
  size: string,
  granularity: SmoothedProduct['granularity'],
  [depth = 1, outputs = 1]: readonly number[],
): string {
  if (granularity === 'tensor') return editor.emit('ReduceMax', [size], { keepdims: 0 });
  const integers = (name: string, values: readonly number[]): string =>
    editor.addInitializer(name, tensor('int64', [values.length], values.map(BigInt)));
  if (granularity === 'channel')
    return editor.emit('ReduceMax', [size, integers('axes', [0])], { keepdims: 1 });
  const { block } = granularity;
  const blocks = Math.ceil(depth / block);
  const whole = editor.emit('Pad', [size, integers('pads', [0, 0, blocks * block - depth, 0])]);
  const split = editor.emit('Reshape', [whole, integers('blocks', [blocks, block, outputs])]);
  const most = editor.emit('ReduceMax', [split, integers('axes', [1])], { keepdims: 0 });
  const own = Array.from({ length: depth }, (_, i) => Math.floor(i / block));
  return editor.emit('Gather', [most, integers('block', own)], { axis: 0 });
}

function onGrid(
  editor: GraphEditor,
  x: string,
  step: string,
  zeroPoint: string,
  [low, high]: readonly [number, number],
): string {
  const code = editor.emit('Add', [editor.emit('Round', [editor.emit('Div', [x, step])]), zeroPoint]);
  const limited = editor.emit('Clip', [code, scalar(editor, low), scalar(editor, high)]);
  return editor.emit('Mul', [editor.emit('Sub', [limited, zeroPoint]), step]);
}
