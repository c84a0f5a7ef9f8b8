/** What a number format is: the values its codes stand for, how they are scaled, stored and written in ONNX. */
import { type DType } from '../tensor/index.js';

/** Which scales a format allows. */
export type ScaleRule =
  /** Any positive float32. */
  | 'float'
  /** 2^e for any integer e. */
  | 'power-of-two'
  /** 2^e stored as one E8M0 byte a block. */
  | 'e8m0'
  /** An E4M3 byte a block, times one float32 for the tensor. */
  | 'e4m3'
  /** Values are stored as they are. */
  | 'one';

/** How the ONNX graph carries the format. */
export type OnnxForm =
  /** QuantizeLinear and DequantizeLinear with this element type. */
  | { readonly kind: 'qdq' }
  /** Cast to the element type and back; there is no scale. */
  | { readonly kind: 'cast' }
  /** Codes in a uint8 initializer, values by Gather from the table of levels; weights only. */
  | { readonly kind: 'table' };

/**
 * A number format: `value = scale · decode(code − zeroPoint)`. Scalars here are in units of the scale and float64, so
 * that encode and decode are exact; `quantize.ts` applies them to arrays in the float32 arithmetic of ONNX.
 */
export interface NumberFormat {
  /** Canonical name: `parseFormat(name)` gives the format back. */
  readonly name: string;
  readonly family: string;
  /** Bits of one code; shared scales come on top. */
  readonly bits: number;
  readonly signed: boolean;
  /** Lowest and highest code. */
  readonly low: number;
  readonly high: number;
  /** Codes are consecutive integers and decode to themselves, so integer kernels and weight solvers apply. */
  readonly uniform: boolean;
  /** Whether a zero point other than 0 is allowed. */
  readonly affine: boolean;
  readonly scale: ScaleRule;
  /** Elements that share a scale; undefined when the plan decides (tensor, channel or a block of its own size). */
  readonly block?: number;
  /** ONNX element type of the stored codes. */
  readonly dtype: DType;
  /** First opset whose operators carry the format. */
  readonly opset: number;
  readonly onnx: OnnxForm;
  /** Code of the nearest level (ties to even unless the format says otherwise), saturating; `x` is value / scale. */
  encode(x: number, zeroPoint?: number): number;
  /** Level of a code, in units of the scale. */
  decode(code: number, zeroPoint?: number): number;
}

/** A family of formats: recognises the names it owns. One row of the table in `parse.ts`. */
export interface FormatFamily {
  /** How names are written, for messages: `intN, uintN (N = 2…8, 16)`. */
  readonly syntax: string;
  /** One name of each member worth testing and listing. */
  readonly members: readonly string[];
  /** The format, or undefined when the name is not of this family. */
  parse(name: string): NumberFormat | undefined;
}
