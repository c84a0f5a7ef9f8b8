/**
 * What is added to a model so that one run hands out little: exact extremes of each value, by channel and sample, and
 * a lattice of its elements. Both are computed inside the runtime, where a reduction takes a fraction of a nanosecond
 * an element; copying whole activations to JavaScript would cost more than the inference.
 */
import { GraphEditor, opsetOf, withGraph, operatorFacts, type Model, type Node } from '../onnx/index.js';
import { dtypeCode, sizeOf, tensor } from '../tensor/index.js';
import { withOutputs } from '../engine/index.js';
import { type ValueLayout } from './layout.js';

/** How one value is observed, and the names of the outputs that carry it. */
export interface Tap {
  readonly value: string;
  /** Samples are the first axis; otherwise each run is one sample. */
  readonly batched: boolean;
  /** Channel axis and the number of channels, where that is fixed. */
  readonly channels?: { readonly axis: number; readonly size: number };
  /** Output with the elements to count: the whole value, or a lattice of it. */
  readonly elements: string;
  /**
   * Outputs with exact extremes, [samples · rows, channels]; absent when `elements` is the whole value. Without `min`, the
   * operator bounds the value from below by zero, and the elements taken tell the minimum.
   */
  readonly max?: string;
  readonly min?: string;
}

export interface TappedModel {
  readonly model: Model;
  readonly taps: readonly Tap[];
}

/** Slice takes a step since this opset; before it, whole values are handed out. */
const SLICE_STEP_OPSET = 10;

/** Reduce operators take axes as an input since these opsets. */
const REDUCE_AXES_INPUT_OPSET = 18;

/**
 * Adds the outputs that observe values.
 *
 * @param layouts           shapes of the values, by name
 * @param elementsPerSample elements of a sample to take at most, about
 */
export function tapModel(
  model: Model,
  layouts: ReadonlyMap<string, ValueLayout>,
  elementsPerSample: number,
): TappedModel {
  const editor = new GraphEditor(model.graph);
  const opset = opsetOf(model);
  const taps = [...layouts].map(([value, layout]) => addTap(editor, opset, value, layout, elementsPerSample));
  const outputs = taps.flatMap((t) => [t.elements, t.max, t.min]).filter((o) => o !== undefined);
  return { model: withOutputs(withGraph(model, editor.finish()), [...new Set(outputs)]), taps };
}

function addTap(editor: GraphEditor, opset: number, value: string, layout: ValueLayout, wanted: number): Tap {
  const { dims, batched, channelAxis } = layout;
  const source = layout.dtype === 'float32' ? value : cast(editor, value);
  if (dims === undefined) return { value, batched, elements: source };
  const channels =
    channelAxis === undefined ? undefined : { axis: channelAxis, size: dims[channelAxis] ?? 1 };
  const base = { value, batched, ...(channels !== undefined && layout.fixedChannels && { channels }) };
  const steps = opset < SLICE_STEP_OPSET ? [] : lattice({ ...layout, dims }, wanted);
  if (steps.length === 0) return { ...base, elements: copy(editor, source) };
  const kept = new Set([
    ...(batched ? [0] : []),
    ...(base.channels === undefined ? [] : [base.channels.axis]),
  ]);
  const axes = dims.map((_, axis) => axis).filter((axis) => !kept.has(axis));
  const elements = slice(editor, source, steps);
  return {
    ...base,
    elements,
    max: reduce(editor, opset, 'ReduceMax', source, axes),
    ...(isNonNegative(editor.producer(value))
      ? {}
      : { min: reduce(editor, opset, 'ReduceMin', source, axes) }),
  };
}

interface Step {
  readonly axis: number;
  readonly step: number;
}

/**
 * Which positions are taken: every channel, and every s-th index along the one or two longest other axes. Steps are
 * odd, so that they meet all phases of patterns with a period of 2, 4, 8 (upsampling, patches, heads).
 */
export function lattice(
  {
    dims,
    batched,
    channelAxis,
  }: Pick<ValueLayout, 'batched' | 'channelAxis'> & { readonly dims: readonly number[] },
  wanted: number,
): Step[] {
  const total = sizeOf(dims);
  const free = dims
    .map((size, axis) => ({ size, axis }))
    .filter(({ axis }) => axis !== channelAxis && !(batched && axis === 0))
    .sort((a, b) => b.size - a.size || a.axis - b.axis)
    .slice(0, 2)
    .filter(({ size }) => size > 2);
  const factor = total / wanted;
  if (factor <= 1 || free.length === 0) return [];
  const each = free.length === 2 ? Math.sqrt(factor) : factor;
  const steps: Step[] = [];
  for (const { size, axis } of free) {
    const step = Math.min(oddAtLeast(each), oddAtMost(size));
    if (step > 1) steps.push({ axis, step });
  }
  return steps;
}

const oddAtLeast = (x: number): number => 2 * Math.ceil((x - 1) / 2) + 1;
const oddAtMost = (n: number): number => (n % 2 === 0 ? n - 1 : n);

/** First index taken: the middle of the first stretch. */
const offset = (step: number): number => (step - 1) / 2;

function slice(editor: GraphEditor, value: string, steps: readonly Step[]): string {
  const constant = (name: string, values: readonly number[]): string =>
    editor.addInitializer(`fxq_${name}`, tensor('int64', [values.length], values.map(BigInt)));
  const inputs = [
    constant(
      'starts',
      steps.map(({ step }) => offset(step)),
    ),
    constant(
      'ends',
      steps.map(() => 2 ** 31 - 1),
    ),
    constant(
      'axes',
      steps.map(({ axis }) => axis),
    ),
    constant(
      'steps',
      steps.map(({ step }) => step),
    ),
  ];
  return editor.emit('Slice', [value, ...inputs], {}, `${value}_taken`);
}

function reduce(
  editor: GraphEditor,
  opset: number,
  opType: 'ReduceMax' | 'ReduceMin',
  value: string,
  axes: readonly number[],
): string {
  const name = `${value}_${opType === 'ReduceMax' ? 'max' : 'min'}`;
  if (opset < REDUCE_AXES_INPUT_OPSET) return editor.emit(opType, [value], { axes, keepdims: 0 }, name);
  const input = editor.addInitializer('fxq_axes', tensor('int64', [axes.length], axes.map(BigInt)));
  return editor.emit(opType, [value, input], { keepdims: 0 }, name);
}

/**
 * The value in a node of its own: the runtime would take a conversion of layouts for a tap, one that it adds behind all
 * others and so runs first, with everything that it needs (see `tapsEarly`).
 */
function copy(editor: GraphEditor, value: string): string {
  return editor.emit('Max', [value], {}, `${value}_taken`);
}

function cast(editor: GraphEditor, value: string): string {
  return editor.emit('Cast', [value], { to: dtypeCode('float32') }, `${value}_float32`);
}

/** Whether the operator itself keeps its results from being negative: Relu, Sigmoid, Softmax … */
function isNonNegative(producer: Node | undefined): boolean {
  const facts = producer && operatorFacts(producer);
  return facts !== undefined && 'outputRange' in facts && facts.outputRange?.[0] === 0;
}
