/** The least opset that a plan's formats need. */
import { parseFormat } from '../formats/index.js';
import { type Plan } from '../plan/index.js';

/** Per-channel QuantizeLinear exists since opset 13, blocks since 21. */
export function opsetForPlan(plan: Plan): number {
  const tensors = [...Object.values(plan.activations), ...Object.values(plan.weights)];
  const needs = tensors.map(({ format, granularity }) =>
    Math.max(parseFormat(format).opset, granularity.kind === 'block' ? 21 : 13),
  );
  return Math.max(0, ...needs);
}
