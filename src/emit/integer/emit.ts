/** The integer emitter: a model and its plan in; the integer graph, its program and its table out. */
import { opsetOf, type Model } from '../../onnx/index.js';
import { type Plan, type ValueTypes } from '../../plan/index.js';
import { type SolvedWeights } from '../qdq.js';
import { lowerToIntegers, type Lowered } from './lower.js';
import { integerTable, type IntegerTable } from './table.js';
import { type CalibratedRanges } from './widths.js';
import { writeIntegerModel } from './write.js';

export interface EmittedIntegers extends Lowered {
  readonly model: Model;
  readonly table: IntegerTable;
}

/**
 * Writes a plan as integer arithmetic.
 *
 * @param model      the prepared model the plan was made for, target `integer`, opset 13 or later
 * @param calibrated real ranges seen in calibration, by activation id, for the calibrated accumulator widths
 * @throws FxqError E_UNSUPPORTED naming the node that has no integer form, and why
 */
export async function emitInteger(
  model: Model,
  plan: Plan,
  solved: SolvedWeights,
  types: ValueTypes,
  calibrated?: CalibratedRanges,
): Promise<EmittedIntegers> {
  const input = { graph: model.graph, plan, solved, types, opset: opsetOf(model) };
  const lowered = await lowerToIntegers(input);
  return {
    ...lowered,
    model: writeIntegerModel(model, lowered),
    table: integerTable(lowered.program, plan, solved, calibrated),
  };
}
