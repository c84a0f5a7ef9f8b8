/** What lowering an operator needs: operands and results as codes, constants, and somewhere to put operations. */
import { FxqError, required } from '../../core/index.js';
import { parseFormat, type NumberFormat } from '../../formats/index.js';
import {
  describeNode,
  loadTensor,
  type Dim,
  type Graph,
  type Node,
  type StoredTensor,
} from '../../onnx/index.js';
import { type NodePlan, type Plan, type ValueTypes } from '../../plan/index.js';
import { sizeOf, toFloat32, toNumbers } from '../../tensor/index.js';
import { type SolvedWeights } from '../qdq.js';
import { accumulatorRanges, hull, integerRange, signedBits, type Range } from './accumulator.js';
import {
  type ArithmeticOp,
  type Border,
  type CodeConstant,
  type CodeValue,
  type IntegerOp,
  type IntegerProgram,
  type Rescale,
} from './program.js';
import { limitsInUnits, makeRescale } from './rescale.js';

type WithoutRescale<Op> = Op extends ArithmeticOp ? Omit<Op, 'rescale' | 'node' | 'output'> : never;

/** An arithmetic operation before its result and rescale are known. */
export type Accumulation = WithoutRescale<ArithmeticOp>;

/** Where the result of a node goes. */
export interface Result {
  readonly value: CodeValue;
  readonly format: NumberFormat;
  /** Limits of the fused activation, in units of the result. */
  readonly limits: { readonly low: number; readonly high: number };
}

/** A quantized weight as integers, zero point subtracted, with its scales. */
export interface Weight {
  readonly dims: readonly number[];
  readonly codes: Int32Array;
  /** One, or one an index of the channel axis. */
  readonly scale: readonly number[];
}

/** A constant float tensor. */
export interface Reals {
  readonly dims: readonly number[];
  readonly values: Float32Array;
}

export interface LoweringInput {
  readonly graph: Graph;
  readonly plan: Plan;
  readonly solved: SolvedWeights;
  readonly types: ValueTypes;
  readonly opset: number;
}

/** An activation folded into the node before it, with its limits as real numbers. */
export interface Fusion {
  readonly by: Node;
  readonly low: number;
  readonly high: number;
}

/** Builds a program node by node. */
export class Lowering {
  readonly input: LoweringInput;
  /** Activations folded into a node. */
  readonly fusions: ReadonlyMap<Node, Fusion>;
  readonly #values = new Map<string, CodeValue>();
  readonly #constants = new Map<string, CodeConstant>();
  readonly #ops: IntegerOp[] = [];
  /** Float values that enter. */
  readonly borders: Border[] = [];
  /** For every value computed in integers, the id of its codes. */
  readonly produced = new Map<string, string>();

  constructor(input: LoweringInput, fusions: ReadonlyMap<Node, Fusion>) {
    this.input = input;
    this.fusions = fusions;
  }

  finish(outputs: readonly Border[]): IntegerProgram {
    return {
      values: this.#values,
      constants: this.#constants,
      inputs: this.borders,
      ops: this.#ops,
      outputs,
    };
  }

  planOf(node: Node): NodePlan {
    return required(this.input.plan.nodes[node.name], `plan of ${node.name}`);
  }

  value(name: string): CodeValue {
    return required(this.#values.get(name), `codes of ${name}`);
  }

  /** Name of the codes an input of a node reads. */
  operand(node: Node, index: number): CodeValue {
    const id = this.planOf(node).inputs[index];
    if (id == null) throw refuse(node, `its input ${index} is not quantized`);
    const known = this.#values.get(id);
    if (known !== undefined) return known;
    const { value: name } = required(this.input.plan.activations[id], id);
    const other = this.produced.get(name);
    const value = this.#declare(id, this.dimsOf(name));
    if (other === undefined) this.borders.push({ real: name, codes: id });
    else this.rescaled(node, this.value(other), value);
    return value;
  }

  /** Adds an operation that turns the codes of one value into those of another with other parameters. */
  rescaled(node: Node, from: CodeValue, to: CodeValue): void {
    const terms = [{ x: from.name, multiplier: 1 }];
    this.accumulate(node, { kind: 'sum', terms }, [from.scale], {
      value: to,
      format: parseFormat(to.format),
      limits: UNLIMITED,
    });
  }

  /** The codes a node writes, behind the activation fused into it. */
  result(node: Node, index = 0): Result {
    const fusion = this.fusions.get(node);
    const writer = fusion?.by ?? node;
    const id = this.planOf(writer).outputs[index];
    if (id == null) throw refuse(node, `its result is not quantized`);
    const { value: name } = required(this.input.plan.activations[id], id);
    const declared = this.#declare(id, this.dimsOf(name));
    const format = parseFormat(declared.format);
    const limits = limitsInUnits(fusion ?? UNLIMITED, declared.scale, format);
    const value = {
      ...declared,
      low: Math.max(declared.low, limits.low + declared.zeroPoint),
      high: Math.min(declared.high, limits.high + declared.zeroPoint),
    };
    this.#values.set(id, value);
    this.produced.set(name, id);
    return { value, format, limits };
  }

  #declare(id: string, dims: readonly Dim[]): CodeValue {
    const { format: name, scale, zeroPoint } = required(this.input.plan.activations[id], id);
    const format = parseFormat(name);
    if (!format.integer) {
      throw new FxqError(
        'E_FORMAT',
        `'${id}' has format ${name}, whose codes are not integers`,
        'Choose an integer, fixed-point or dynamic fixed-point format for activations.',
      );
    }
    const value: CodeValue = {
      name: id,
      dims,
      format: name,
      scale: required(scale[0], `scale of ${id}`),
      zeroPoint: zeroPoint[0] ?? 0,
      low: format.low,
      high: format.high,
    };
    this.#values.set(id, value);
    return value;
  }

  /** Adds a constant under a fresh name. */
  constant(base: string, dims: readonly number[], codes: Int32Array): string {
    let name = base;
    for (let i = 1; this.#constants.has(name) || this.#values.has(name); i++) name = `${base}_${i}`;
    const range = codes.reduce((r, c) => hull(r, { low: c, high: c }), { low: 0, high: 0 });
    this.#constants.set(name, { name, dims, codes, ...range });
    return name;
  }

  /** Range of an operand's integers. */
  readonly rangeOf = (name: string): Range =>
    integerRange({ values: this.#values, constants: this.#constants }, name);

  /** Adds an operation that needs no rescale. */
  push(op: IntegerOp): void {
    this.#ops.push(op);
  }

  /**
   * Adds an arithmetic operation.
   *
   * @param units real value of one unit of the accumulator: one, or one a channel
   * @param axis  channel axis of the result
   */
  accumulate(node: Node, sum: Accumulation, units: readonly number[], result: Result, axis = 0): void {
    const { value, format, limits } = result;
    const open = { ...sum, node: node.name, output: value.name, rescale: UNSET } as ArithmeticOp;
    const range = accumulatorRanges(open, this.rangeOf, this.#constants).reduce(hull);
    const rescale = makeRescale({
      ratios: units.map((unit) => unit / value.scale),
      axis,
      format,
      limits,
      accumulatorBits: signedBits(range),
    });
    this.#ops.push({ ...open, rescale });
  }

  dimsOf(value: string): readonly Dim[] {
    return required(this.input.types.get(value)?.dims, `shape of ${value}`);
  }

  /** A constant input of a node, or undefined when it is omitted. */
  #stored(node: Node, index: number): StoredTensor | undefined {
    const name = node.inputs[index] ?? '';
    if (name === '') return undefined;
    const stored = this.input.graph.initializers.get(name);
    if (stored === undefined) throw refuse(node, `its input ${index} is not constant`);
    return stored;
  }

  /** Whether an input of a node is an initializer. */
  isConstant(node: Node, index: number): boolean {
    return this.input.graph.initializers.has(node.inputs[index] ?? '');
  }

  /** Numbers of a constant input (shapes, axes, limits). */
  numbers(node: Node, index: number): number[] | undefined {
    const stored = this.#stored(node, index);
    return stored === undefined ? undefined : toNumbers(loadTensor(stored, node.inputs[index]));
  }

  /** Values and shape of a constant float input. */
  reals(node: Node, index: number): Reals | undefined {
    const stored = this.#stored(node, index);
    if (stored === undefined) return undefined;
    return { dims: stored.dims, values: toFloat32(loadTensor(stored, node.inputs[index])) };
  }

  /** A value that is constant but for repetition along axes of unknown extent: an initializer, or Expand of one. */
  repeatedConstant(value: string): Reals | undefined {
    const { graph } = this.input;
    const writer = graph.nodes.find((n) => n.outputs.includes(value));
    const name = writer?.opType === 'Expand' ? (writer.inputs[0] ?? '') : value;
    const stored = graph.initializers.get(name);
    if (stored === undefined) return undefined;
    const lead = this.dimsOf(value).length - stored.dims.length;
    const isWhole = this.dimsOf(value).every(
      (d, axis) => typeof d !== 'number' || d === (stored.dims[axis - lead] ?? 1),
    );
    return isWhole ? { dims: stored.dims, values: toFloat32(loadTensor(stored, name)) } : undefined;
  }

  /**
   * The quantized weight at an input of a node.
   *
   * @param channelAxis axis along which scales may differ
   */
  weight(node: Node, index: number, channelAxis: number | undefined): Weight | undefined {
    const initializer = this.planOf(node).weights[index];
    if (initializer === undefined) return undefined;
    const { format, granularity } = required(this.input.plan.weights[initializer], initializer);
    if (!parseFormat(format).integer)
      throw refuse(node, `weight '${initializer}' has format ${format}, whose codes are not integers`);
    if (granularity.kind === 'block') throw refuse(node, `weight '${initializer}' has scales by block`);
    if (granularity.kind === 'channel' && granularity.axis !== channelAxis)
      throw refuse(node, `weight '${initializer}' has scales along axis ${granularity.axis}`);
    const { codes, scale, zeroPoint } = required(this.input.solved.get(initializer), initializer);
    const dims = required(this.input.graph.initializers.get(initializer), initializer).dims;
    const inner = sizeOf(dims.slice((channelAxis ?? 0) + 1));
    const channels = dims[channelAxis ?? 0] ?? 1;
    const zeroPointOf = (i: number): number =>
      zeroPoint[zeroPoint.length === 1 ? 0 : Math.floor(i / inner) % channels] ?? 0;
    return { dims, codes: codes.map((code, i) => code - zeroPointOf(i)), scale: Array.from(scale) };
  }
}

const UNLIMITED = { low: -Infinity, high: Infinity } as const;

const UNSET: Rescale = {
  multiplier: [1],
  shift: [0],
  axis: 0,
  rounding: 'AP_TRN',
  overflow: 'AP_SAT',
  limits: UNLIMITED,
};

/** The error for a node that has no integer form. */
export function refuse(node: Node, reason: string): FxqError {
  return new FxqError(
    'E_UNSUPPORTED',
    `${describeNode(node)} cannot be computed in integers: ${reason}`,
    'Use --emit qdq, or exclude nodes at the end of the model so that they follow the output dequantization.',
  );
}
