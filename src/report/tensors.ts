/** What chosen values hold, as a sketch collected along the way, and the grid they are rounded to. */
import { addElements, binBounds, emptySketch, type SketchBuilder } from '../calibrate/index.js';
import { FxqError, didYouMean } from '../core/index.js';
import { loadTensor, type Graph } from '../onnx/index.js';
import { integerRange, toFloat32, toNumbers, type Tensor } from '../tensor/index.js';
import { type LayerResult, type TensorResult } from './result.js';
import { isReal } from './layer-graph.js';

/** Steps of a histogram. */
const STEPS = 72;

/** Values shown when none is asked for: those that rounding hurts most. */
const DEFAULT_COUNT = 3;

export interface TensorObserver {
  /** Takes in the values of one run, by name. */
  observe(values: ReadonlyMap<string, Tensor>): void;
  /**
   * The tensors asked for, or those that rounding hurts most.
   *
   * @throws FxqError E_USAGE for a name that no value has
   */
  results(layers: readonly LayerResult[]): TensorResult[];
}

/** The value a name stands for: that of a value, or of a node, whose first result is meant. */
export function valueNamed({ nodes }: Graph, name: string): string {
  if (nodes.some((n) => n.outputs.includes(name))) return name;
  return nodes.find((n) => n.name === name)?.outputs[0] ?? name;
}

/**
 * Observes values of the float model.
 *
 * @param quantized tells the grids
 * @param wanted names; when empty, all values that are quantized
 */
export function observeTensors(quantized: Graph, wanted: readonly string[]): TensorObserver {
  const quantizedValues = new Set(
    quantized.nodes.filter((node) => node.opType === 'QuantizeLinear').map((node) => node.inputs[0] ?? ''),
  );
  const sketches = new Map<string, SketchBuilder>();
  const seen = new Set<string>();
  return {
    observe: (values) => {
      for (const [name, tensor] of values) {
        seen.add(name);
        const chosen = wanted.length === 0 ? quantizedValues.has(name) : wanted.includes(name);
        if (!chosen || !isReal(tensor.dtype)) continue;
        const sketch = sketches.get(name) ?? emptySketch(name);
        sketches.set(name, sketch);
        addToSketch(sketch, toFloat32(tensor));
      }
    },
    results: (layers) => {
      const unknown = wanted.find((name) => !sketches.has(name));
      if (unknown !== undefined) {
        throw new FxqError('E_USAGE', `there is no float value '${unknown}' in the model`, [
          didYouMean(unknown, seen),
          'Give the name of a value or of the node that makes it, as the report in JSON has them.',
        ]);
      }
      const names = wanted.length > 0 ? wanted : mostRounded(layers);
      return names.flatMap((name) => {
        const sketch = sketches.get(name);
        return sketch === undefined ? [] : [describe(sketch, quantized)];
      });
    },
  };
}

function addToSketch(sketch: SketchBuilder, elements: Float32Array): void {
  addElements(sketch, elements);
  for (const value of elements) {
    if (!Number.isFinite(value)) continue;
    if (value < sketch.min) sketch.min = value;
    if (value > sketch.max) sketch.max = value;
  }
}

function mostRounded(layers: readonly LayerResult[]): string[] {
  return layers
    .flatMap(({ value, activation }) => (activation === undefined ? [] : [{ value, activation }]))
    .sort((a, b) => a.activation - b.activation)
    .slice(0, DEFAULT_COUNT)
    .map(({ value }) => value);
}

function describe(sketch: SketchBuilder, quantized: Graph): TensorResult {
  const { name, min, max } = sketch;
  const grid = gridOf(quantized, name);
  return { value: name, min, max, ...(grid === undefined ? {} : { grid }), histogram: equalSteps(sketch) };
}

/** Counts in equal steps from min to max; a bin of the sketch spreads over the steps it covers. */
function equalSteps({ histogram, min, max }: SketchBuilder): number[] {
  const counts = new Array<number>(STEPS).fill(0);
  const width = (max - min) / STEPS;
  const stepOf = (value: number): number =>
    Math.min(Math.max(Math.floor((value - min) / width), 0), STEPS - 1);
  histogram.forEach((count, bin) => {
    if (count === 0) return;
    const bounds = binBounds(bin);
    const low = Math.max(bounds.low, min);
    const high = Math.min(bounds.high, max);
    const [first, last] = width > 0 ? [stepOf(low), stepOf(high)] : [0, 0];
    for (let i = first; i <= last; i++) {
      const covered = Math.min(high, min + (i + 1) * width) - Math.max(low, min + i * width);
      counts[i] = (counts[i] ?? 0) + (first === last ? count : (count * Math.max(covered, 0)) / (high - low));
    }
  });
  return counts.map((count) => Number(count.toFixed(2)));
}

/** Real values of the grid with one scale that QuantizeLinear rounds a value to. */
function gridOf(graph: Graph, value: string): TensorResult['grid'] {
  const node = graph.nodes.find((n) => n.opType === 'QuantizeLinear' && n.inputs[0] === value);
  const scale = graph.initializers.get(node?.inputs[1] ?? '');
  const zero = graph.initializers.get(node?.inputs[2] ?? '');
  if (
    scale === undefined ||
    zero?.dtype === undefined ||
    zero.dtype === 'string' ||
    !/^u?int/.test(zero.dtype)
  )
    return undefined;
  const [step, ...more] = toFloat32(loadTensor(scale));
  const [origin = 0] = toNumbers(loadTensor(zero));
  if (step === undefined || more.length > 0) return undefined;
  const { low, high } = integerRange(zero.dtype);
  return { low: (low - origin) * step, high: (high - origin) * step, step };
}
