/** What a number format is: the values its codes stand for, how they are scaled, stored and written in ONNX. */
import { type DType } from '../tensor/index.js';
import { type Sample } from './sample.js';

/** Which scales a format allows, and how a stored scale is written. */
export type ScaleRule =
  /** Any positive float32. */
  | 'float'
  /** 2^e, any integer e, written as float32. */
  | 'power-of-two'
  /** 2^e, one E8M0 byte a block. */
  | 'e8m0'
  /** An E4M3 byte a block, times one float32 for the tensor. */
  | 'e4m3'
  /** No scale: values are stored as they are. */
  | 'one';

/** How an ONNX graph carries the format. Only the first two can carry activations. */
export type OnnxForm =
  /** QuantizeLinear and DequantizeLinear of the element type, after a Clip where the grid is narrower than the type. */
  | 'qdq'
  /** Cast to the element type and back. */
  | 'cast'
  /** DequantizeLinear of an initializer: the type or the rounding mode has no QuantizeLinear. */
  | 'dequantize'
  /** Codes in an unsigned initializer, levels by Gather from a table of 2^bits entries. */
  | 'table'
  /** One code for several weights: rows of a table of bytes by Gather, in the order of the layer's sum. */
  | 'vectors';

/** Several weights that share a code. */
export interface VectorPart {
  /** Weights of one vector. */
  readonly size: number;
  /** Vectors there are. */
  readonly words: number;
}

/**
 * A number format: `value = scale · decode(code)`, for affine formats `scale · (code − zeroPoint)`. The scalar functions
 * work in units of the scale and in float64, so they are exact; `quantize.ts` applies them to arrays in the float32
 * arithmetic of ONNX.
 */
export interface NumberFormat {
  /** Canonical name: `parseFormat(name)` gives the format back. */
  readonly name: string;
  readonly family: string;
  /** Bits of the code of one weight, a fraction where several share one; shared scales come on top. */
  readonly bits: number;
  readonly signed: boolean;
  /** Lowest and highest code. */
  readonly low: number;
  readonly high: number;
  /** A code is an integer that stands for itself, so integer kernels apply. */
  readonly integer: boolean;
  /** Every integer of [low, high] is a level, so weight solvers that move by one apply. */
  readonly uniform: boolean;
  /** Whether a zero point other than 0 is allowed. */
  readonly affine: boolean;
  readonly scale: ScaleRule;
  /** Elements that share a scale; absent when the plan decides (tensor, channel or a block of its own size). */
  readonly block?: number;
  /** ONNX element type of the stored codes. */
  readonly dtype: DType;
  /** First opset whose operators carry the format. */
  readonly opset: number;
  readonly onnx: OnnxForm;
  /** Exponent a of a power format, where it is settled. */
  readonly exponent?: number;
  /** Levels of a codebook, by code, where they are settled. */
  readonly levels?: Float32Array;
  /** Codes are chosen for several weights at once, so `encode` does not apply; absent for most. */
  readonly vector?: VectorPart;
  /** Code of the level that stands for `x` = value / scale: the nearest, ties to even, saturating, unless documented. */
  encode(x: number, zeroPoint?: number): number;
  /** Level of a code, in units of the scale. */
  decode(code: number, zeroPoint?: number): number;
  /**
   * Scale of a group whose values reach ±absmax; a float32 number.
   *
   * @param tensorAbsmax largest magnitude of the whole tensor, for formats with a second scale
   */
  scaleFor(absmax: number, tensorAbsmax?: number): number;
  /** Scale of least squared error in closed form, which then takes the place of any search; absent for most. */
  leastSquaresScale?(sample: Sample): number;
  /**
   * The format with its own parameter (a power exponent, a table of levels) chosen for these groups; absent when there is none left open.
   *
   * @param scales of the groups; by their largest magnitudes when absent
   */
  fitted?(groups: readonly Sample[], scales?: ArrayLike<number>): NumberFormat;
}

/** A family of formats, recognised by name. One row of the table in `parse.ts`. */
export interface FormatFamily {
  /** How names are written, for messages: `intN, uintN (N = 2…8, 16)`. */
  readonly syntax: string;
  /** Names worth listing and testing: every member, or a representative choice where there are too many. */
  readonly members: readonly string[];
  /** The format, or undefined when the name is not of this family. */
  parse(name: string): NumberFormat | undefined;
}
