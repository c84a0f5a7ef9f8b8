/**
 * The integer program: what a quantized model computes on codes, with nothing left to interpretation. The reference
 * interpreter, the ONNX writer, the C++ writer and the proofs all read this one form, and agree bit for bit.
 *
 * Every value is an exact integer. An arithmetic operation forms an exact integer `v` from its operands less their zero
 * points (the accumulator) and turns it into the codes of its result by a {@link Rescale}.
 */
import { type Overflow, type Rounding } from '../../formats/index.js';
import { type Dim } from '../../onnx/index.js';

/** Codes of an activation: `real value = scale · (code − zeroPoint)`. */
export interface CodeValue {
  readonly name: string;
  readonly dims: readonly Dim[];
  /** Name of the number format. */
  readonly format: string;
  readonly scale: number;
  readonly zeroPoint: number;
  /** Codes that can occur. */
  readonly low: number;
  readonly high: number;
}

/** Constant operand: integers with their zero point already subtracted. */
export interface CodeConstant {
  readonly name: string;
  readonly dims: readonly number[];
  readonly codes: Int32Array;
  readonly low: number;
  readonly high: number;
}

/**
 * From an accumulator `v` to a code:
 *
 * 1. `r = v · multiplier / 2^shift`, rounded to an integer by `rounding`; exact before the rounding
 * 2. `r = clamp(r, limits)`: a fused Relu or Clip, in units of the result
 * 3. `code = r + zeroPoint`, brought into the word of the result by `overflow`
 *
 * Multiplier and shift are one for all, or one a channel along `axis` of the result. When all scales are powers of two
 * the multiplier is a power of two as well: with shifts only, it is 1.
 */
export interface Rescale {
  readonly multiplier: readonly number[];
  readonly shift: readonly number[];
  /** Channel axis of the result, when there is more than one multiplier. */
  readonly axis: number;
  readonly rounding: Rounding;
  readonly overflow: Overflow;
  readonly limits: { readonly low: number; readonly high: number };
}

interface Arithmetic {
  /** Node of the model this comes from. */
  readonly node: string;
  readonly output: string;
  readonly rescale: Rescale;
}

/** Spatial window of a convolution or pooling; `pads` holds all beginnings, then all ends. */
export interface Window {
  readonly kernel: readonly number[];
  readonly strides: readonly number[];
  readonly pads: readonly number[];
  readonly dilations: readonly number[];
}

/** v[n,m,…] = bias[m] + Σ x · w; padding adds zeros. */
export interface Convolution extends Arithmetic {
  readonly kind: 'convolution';
  readonly x: string;
  /** Constant [M, C/group, kernel…]. */
  readonly weight: string;
  /** Constant [M]. */
  readonly bias?: string;
  readonly group: number;
  readonly window: Window;
}

/** v = bias + A · B over the last two axes, leading axes broadcast. Operands are values or constants. */
export interface MatrixProduct extends Arithmetic {
  readonly kind: 'matrix-product';
  readonly a: string;
  readonly b: string;
  /** Constant [N]. */
  readonly bias?: string;
  /** Length of the common axis. */
  readonly depth: number;
}

/** v = Σ multiplier · (x − zeroPoint), operands broadcast. One term alone rescales. */
export interface Sum extends Arithmetic {
  readonly kind: 'sum';
  readonly terms: readonly { readonly x: string; readonly multiplier: number }[];
}

/** v = (a − z_a) · (b − z_b), broadcast. */
export interface Product extends Arithmetic {
  readonly kind: 'product';
  readonly a: string;
  readonly b: string;
}

/** v = Σ (x − zeroPoint) over a window of `count` elements (zeros in the padding count); the rescale divides. */
export interface WindowSum extends Arithmetic {
  readonly kind: 'window-sum';
  readonly x: string;
  readonly window: Window;
}

/** v = Σ (x − zeroPoint) over whole axes; the rescale divides by their size. */
export interface AxisSum extends Arithmetic {
  readonly kind: 'axis-sum';
  readonly x: string;
  readonly axes: readonly number[];
  /** Elements of one sum. */
  readonly size: number;
  readonly keepDims: boolean;
}

/** Largest code of a window; padding never wins. Input and result share their parameters. */
export interface WindowMax {
  readonly kind: 'window-max';
  readonly node: string;
  readonly x: string;
  readonly window: Window;
  readonly output: string;
}

/** code = table[x − low of x]: any function of one variable. */
export interface Table {
  readonly kind: 'table';
  readonly node: string;
  readonly x: string;
  readonly table: Int32Array;
  readonly output: string;
}

/**
 * Softmax over one axis. With d = max(x) − x and the table `E[d] = round(2^bits · exp(−scale · d))`:
 * `v = ⌊(E[d] · multiplier + s/2) / s⌋` with `s = ΣE · 2^shift`; codes are `v + zeroPoint`, saturated.
 */
export interface Softmax {
  readonly kind: 'softmax';
  readonly node: string;
  readonly x: string;
  readonly axis: number;
  /** E, indexed by d; the last entry stands for everything beyond. */
  readonly exponentials: Int32Array;
  readonly multiplier: number;
  readonly shift: number;
  readonly output: string;
}

/**
 * Normalization over the last `N` elements. With `e = N·x − Σx` and `S = Σe² + epsilon`:
 * `root = ⌊√(S · 4^rootShift)⌋`, `t = ⌊(e · unit + ⌊root/2⌋) / root⌋`, so that `t ≈ 2^fraction · (x − mean)/σ`;
 * then `v = t · gamma[i] + beta[i]`, rescaled.
 */
export interface LayerNorm extends Arithmetic {
  readonly kind: 'layer-norm';
  readonly x: string;
  readonly size: number;
  readonly epsilon: bigint;
  readonly rootShift: number;
  readonly unit: bigint;
  readonly fraction: number;
  /** Constants [N]. */
  readonly gamma: string;
  readonly beta: string;
}

/** How codes move. Nothing is computed; input and output share their parameters. */
export type Movement =
  | { readonly op: 'reshape'; readonly shape: readonly number[] }
  | { readonly op: 'transpose'; readonly permutation: readonly number[] }
  | {
      readonly op: 'slice';
      readonly axes: readonly number[];
      readonly starts: readonly number[];
      readonly ends: readonly number[];
      readonly steps: readonly number[];
    }
  /** Beginnings, then ends, one an axis; filled with `fill`, a code. */
  | { readonly op: 'pad'; readonly pads: readonly number[]; readonly fill: number }
  | {
      readonly op: 'gather';
      readonly axis: number;
      readonly indices: readonly number[];
      readonly scalar: boolean;
    }
  | { readonly op: 'expand'; readonly shape: readonly number[] };

export interface Move {
  readonly kind: 'move';
  readonly node: string;
  readonly x: string;
  readonly movement: Movement;
  readonly output: string;
}

/**
 * Joins values and constants along an axis; all share the parameters of the result. Constants hold codes, zero point
 * included, and repeat along other axes where their extent is 1.
 */
export interface Concat {
  readonly kind: 'concat';
  readonly node: string;
  readonly inputs: readonly string[];
  readonly axis: number;
  readonly output: string;
}

export type IntegerOp =
  | Convolution
  | MatrixProduct
  | Sum
  | Product
  | WindowSum
  | AxisSum
  | WindowMax
  | Table
  | Softmax
  | LayerNorm
  | Move
  | Concat;

/** An operation with an accumulator. */
export type ArithmeticOp = Extract<IntegerOp, Arithmetic>;

/** A float tensor at the border and the codes it stands for. */
export interface Border {
  /** Name of the float value. */
  readonly real: string;
  /** Name of the codes. */
  readonly codes: string;
}

export interface IntegerProgram {
  readonly values: ReadonlyMap<string, CodeValue>;
  readonly constants: ReadonlyMap<string, CodeConstant>;
  /** Float values that enter, quantized as their code value says. */
  readonly inputs: readonly Border[];
  readonly ops: readonly IntegerOp[];
  /** Codes that leave, dequantized. */
  readonly outputs: readonly Border[];
}

/** Names of the code values and constants an operation reads. */
export function operandsOf(op: IntegerOp): readonly string[] {
  switch (op.kind) {
    case 'convolution':
      return [op.x, op.weight, ...(op.bias === undefined ? [] : [op.bias])];
    case 'matrix-product':
      return [op.a, op.b, ...(op.bias === undefined ? [] : [op.bias])];
    case 'sum':
      return op.terms.map((term) => term.x);
    case 'product':
      return [op.a, op.b];
    case 'layer-norm':
      return [op.x, op.gamma, op.beta];
    case 'concat':
      return op.inputs;
    default:
      return [op.x];
  }
}
