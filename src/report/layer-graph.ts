/**
 * One graph that measures the error of every layer: the quantized model as it is, and beside it a copy cut at every
 * value it shares with the float model, where each piece reads the float model's values. Only sums leave the runtime.
 */
import {
  GraphEditor,
  renameInputs,
  value as declare,
  withGraph,
  type Graph,
  type Model,
  type Node,
} from '../onnx/index.js';
import { type DType } from '../tensor/index.js';

/** A value of both models, as the float model has it. */
export interface SharedValue {
  readonly name: string;
  readonly dtype: DType;
}

/** The four sums of squares at one value, as names of scalar outputs. */
export interface SumNames {
  /** Σ v², v being the float value. */
  readonly signal: string;
  /** Σ (v − own)², with this layer alone quantized. */
  readonly own: string;
  /** Σ (v − accumulated)², with everything quantized. */
  readonly accumulated: string;
  /** Σ (v − dequantized)², where the value is quantized for its readers. */
  readonly activation?: string;
}

export interface LayerGraph {
  readonly model: Model;
  /** By value. */
  readonly sums: ReadonlyMap<string, SumNames>;
}

/** The graph input that takes the float model's value. */
export function floatInput(value: string): string {
  return `float:${value}`;
}

const own = (value: string): string => `own:${value}`;

/** Builds the measuring graph from a quantized model. `values` must be written by its nodes. */
export function buildLayerGraph(quantized: Model, values: readonly SharedValue[]): LayerGraph {
  const { graph } = quantized;
  const editor = new GraphEditor(graph);
  editor.inputs = [...graph.inputs, ...values.map((v) => declare(floatInput(v.name), v.dtype))];
  for (const copy of cutCopy(graph, new Set(values.map((v) => v.name)))) editor.add(copy);
  const sums = new Map<string, SumNames>();
  for (const { name, dtype } of values) {
    const reference = toFloat(editor, floatInput(name), dtype);
    const distance = (other: string): string =>
      sumOfSquares(
        editor,
        editor.emit('Sub', [reference, toFloat(editor, other, dtype)], {}, `difference:${other}`),
      );
    const dequantized = dequantizedValue(graph, name);
    sums.set(name, {
      signal: sumOfSquares(editor, reference),
      own: distance(own(name)),
      accumulated: distance(name),
      ...(dequantized === undefined ? {} : { activation: distance(own(dequantized)) }),
    });
  }
  const outputs = [...sums.values()].flatMap((s) => Object.values(s) as string[]);
  editor.outputs = outputs.map((name) => ({ name, type: undefined, proto: {} }));
  return { model: withGraph(quantized, editor.finish({ prune: true })), sums };
}

/** Every node again, writing `own:` values; the shared values it reads come from the float model. */
function cutCopy(graph: Graph, shared: ReadonlySet<string>): Node[] {
  const names = new Map(
    graph.nodes.flatMap((node) =>
      node.outputs.map((name) => [name, shared.has(name) ? floatInput(name) : own(name)] as const),
    ),
  );
  names.delete('');
  return graph.nodes.map((node) => ({
    ...renameInputs(node, names),
    name: own(node.name),
    outputs: node.outputs.map((name) => (name === '' ? '' : own(name))),
  }));
}

/** What readers get of a value after QuantizeLinear and DequantizeLinear; undefined when nobody quantizes it. */
function dequantizedValue(graph: Graph, value: string): string | undefined {
  const reader = (name: string, opType: string): string | undefined =>
    graph.nodes.find((node) => node.opType === opType && node.inputs[0] === name)?.outputs[0];
  const codes = reader(value, 'QuantizeLinear');
  return codes === undefined ? undefined : reader(codes, 'DequantizeLinear');
}

function toFloat(editor: GraphEditor, name: string, dtype: DType): string {
  return dtype === 'float32' ? name : editor.emit('Cast', [name], { to: 1 }, `${name}:float32`);
}

function sumOfSquares(editor: GraphEditor, name: string): string {
  return editor.emit('ReduceSumSquare', [name], { keepdims: 0 }, `sum:${name}`);
}

/** Element types whose values are measured. */
export function isReal(dtype: string | undefined): dtype is 'float32' | 'float16' | 'float64' {
  return dtype === 'float32' || dtype === 'float16' || dtype === 'float64';
}
