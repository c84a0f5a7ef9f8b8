/** The quantized network inside a program, differentiable straight through its roundings. */
import { type Model, type TensorType } from '../../onnx/index.js';
import { type Program, type Value } from '../../program/index.js';
import { inlineSlice } from '../block/slice-program.js';

/** A model with the types of its values. */
export interface TypedModel {
  readonly model: Model;
  readonly types: ReadonlyMap<string, TensorType>;
}

/**
 * Records a network whose activations are quantized, as one slice from its inputs to some values.
 *
 * @param bind model inputs and everything that is learned
 */
export function inlineStudent(
  p: Program,
  { model, types }: TypedModel,
  outputs: readonly string[],
  bind: Readonly<Record<string, Value>>,
): Record<string, Value> {
  return inlineSlice(p, { model, types, inputs: Object.keys(bind), exits: outputs, quantizers: [] }, bind);
}
