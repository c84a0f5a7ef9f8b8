/** Targets as data: what an executor can do with quantized operators. */
import { type Node, type StoredTensor } from '../onnx/index.js';

export type Constants = ReadonlyMap<string, StoredTensor>;

/**
 * How a target treats an operator.
 *
 * - `anchor`: worth quantizing for its own sake; its operands are quantized
 * - `follow`: runs on integers when its operands are integers already and its result is wanted as integer
 * - `move`: moves integers as it moves floats; shares the parameters of its input
 * - `weights`: no integer arithmetic, but its weights may be stored quantized
 * - `dynamic`: integer arithmetic with activations quantized inside the operator
 */
export type Role = 'anchor' | 'follow' | 'move' | 'weights' | 'dynamic';

export interface OperatorSupport {
  readonly role: Role;
  /** Whether the integer kernel exists only when the output is quantized too. */
  readonly output?: 'required' | 'free';
  /**
   * Written so that it moves codes, without Dequantize and Quantize around it, because the target would not take them
   * away: the operator takes integer tensors as it is.
   */
  readonly onCodes?: boolean;
  /** Run-time quantization exists but is slower than float: it is used only when the user asks for it. */
  readonly slowDynamic?: boolean;
  /** Why this particular node is not supported, or undefined when it is. */
  readonly refuses?: (node: Node, constants: Constants) => string | undefined;
}

export interface Target {
  readonly name: string;
  readonly description: string;
  readonly operators: Readonly<Record<string, OperatorSupport>>;
  /** Formats that integer kernels take; others run as simulated quantization. */
  readonly activations: readonly string[];
  readonly weights: readonly string[];
  /** Whether a Relu or Clip in front of a symmetric grid still becomes part of the integer kernel. */
  readonly fusesIntoSymmetric: boolean;
  /** Pairs of an unsigned activation and a signed weight may saturate int16 on processors without VNNI. */
  readonly saturatesWithoutVnni: boolean;
}
