/**
 * A slice of the quantized network as a trainable program: its nodes with activations rounded as the plan says,
 * differentiated straight through the rounding. Weights and biases are whatever the caller binds.
 */
import { inferValueTypes, type SessionOptions } from '../../engine/index.js';
import { namesRead, value, withGraph, type Model, type Node, type TensorType } from '../../onnx/index.js';
import { inlineModel, type Program, type Value } from '../../program/index.js';
import { type DType } from '../../tensor/index.js';

/** Nodes of a model between some values, with the type of every value for inputs of one size. */
export interface Slice {
  readonly model: Model;
  readonly types: ReadonlyMap<string, TensorType>;
  /** Values where it begins, in the order given. */
  readonly inputs: readonly string[];
  readonly exits: readonly string[];
  /** Activation quantizers inside, in order; each is named by its dequantized value. */
  readonly quantizers: readonly string[];
}

/** Type of a value that a slice is given. */
export interface SliceInput {
  readonly dtype: DType;
  readonly dims: readonly number[];
}

/**
 * The part of a model behind some values.
 *
 * @param model  with activations as QuantizeLinear and DequantizeLinear pairs (`emitQdq`), weights float
 * @param given  values where the part begins, with sizes; those it does not need are left out
 * @param exits  values it ends in
 */
export async function cutSlice(
  model: Model,
  given: ReadonlyMap<string, SliceInput>,
  exits: readonly string[],
): Promise<Slice> {
  const nodes = partBetween(model.graph.nodes, given, exits);
  const read = new Set([...nodes.flatMap((n) => [...namesRead(n)]), ...exits]);
  const inputs = [...given].filter(([name]) => read.has(name));
  const part = withGraph(model, {
    name: 'slice',
    inputs: inputs.map(([name, { dtype, dims }]) => value(name, dtype, dims)),
    nodes,
    initializers: new Map(
      [...model.graph.initializers].filter(([name]) => read.has(name) && !given.has(name)),
    ),
    outputs: exits.map((name) => ({ name, type: undefined, proto: {} })),
    valueInfo: new Map(),
  });
  return {
    model: part,
    types: await inferValueTypes(part),
    inputs: inputs.map(([name]) => name),
    exits,
    quantizers: [...quantizersOf(nodes).keys()],
  };
}

/** Nodes behind some values up to the given ones, in order. */
function partBetween(
  nodes: readonly Node[],
  given: ReadonlyMap<string, unknown>,
  exits: readonly string[],
): Node[] {
  const needed = new Set(exits);
  const part: Node[] = [];
  for (const node of [...nodes].reverse()) {
    if (!node.outputs.some((name) => needed.has(name) && !given.has(name))) continue;
    for (const name of namesRead(node)) needed.add(name);
    part.push(node);
  }
  return part.reverse();
}

/** What a quantizer rounds: the float value, and the one it stands for in steps of this scale. */
interface Quantizer {
  readonly raw: string;
  readonly scale: string;
}

/** Operators that turn values into codes, and those that turn them back. */
const TO_CODES: ReadonlySet<string> = new Set(['QuantizeLinear']);

/** Pairs of QuantizeLinear and DequantizeLinear, by the result of the latter. */
function quantizersOf(nodes: readonly Node[]): Map<string, Quantizer> {
  const codes = new Map<string, Quantizer>();
  const found = new Map<string, Quantizer>();
  for (const { opType, inputs, outputs } of nodes) {
    const [source = '', scale = ''] = inputs;
    const quantizer = codes.get(source);
    if (TO_CODES.has(opType)) codes.set(outputs[0] ?? '', { raw: source, scale });
    else if (opType === 'DequantizeLinear' && quantizer !== undefined) found.set(outputs[0] ?? '', quantizer);
  }
  return found;
}

/**
 * Chooses what readers of a quantized activation see, element by element: true for the rounded value. Undefined: all see it.
 *
 * @param raw   the float activation
 * @param index number of the quantizer in `slice.quantizers`
 */
export type Keeps = (p: Program, raw: Value, index: number) => Value | undefined;

/**
 * Records a slice in a program and returns its exits.
 *
 * Rounding of activations is that of the emitted model, forward; backward it passes gradients on where the value lies
 * inside the grid (straight-through estimator). Elements that `keeps` lets go stay float (QDrop, arXiv 2203.05740).
 *
 * @param bind values of the inputs, and of the weights and biases that are learned
 */
export function inlineSlice(
  p: Program,
  { model, types, exits, quantizers }: Slice,
  bind: Readonly<Record<string, Value>>,
  keeps: Keeps = () => undefined,
): Record<string, Value> {
  const pairs = quantizersOf(model.graph.nodes);
  return inlineModel(p, model, exits, {
    types,
    bind,
    replace: ({ outputs: [name = ''] }, rounded, valueOf) => {
      const pair = pairs.get(name);
      if (pair === undefined) return rounded;
      const raw = valueOf(pair.raw);
      const kept = keeps(p, raw, quantizers.indexOf(name));
      const inside = (): Value =>
        p.lessOrEqual(p.abs(p.sub(rounded, raw)), p.mul(valueOf(pair.scale), WITHIN_HALF_A_STEP));
      const rule = (g: Value): Value => {
        const passes = kept === undefined ? inside() : p.or(p.not(kept), inside());
        return p.where(passes, g, 0);
      };
      const seen = kept === undefined ? p.identity(rounded) : p.where(kept, rounded, raw);
      return p.tape.setGradient(seen, { inputs: [raw], rule: (g) => [rule(g)] });
    },
  });
}

/**
 * How programs with slices are run. One thread: sums are split between threads and would differ in their last bits. Pairs
 * of quantizers stay pairs, so that every activation is rounded where it is rounded in training.
 */
export const SLICE_SESSION: SessionOptions = { threads: 1, config: { 'session.disable_quant_qdq': '1' } };

/** Half a step, and the rounding errors of float32 on top. */
const WITHIN_HALF_A_STEP = 0.5001;
