/** Unsigned words for activations that are never negative, where the format leaves the sign open. */
import { parseFormat, unsignedForm } from '../formats/index.js';
import { type ActivationQuantization, type Plan } from './plan.js';

/**
 * The plan with `fix8` activations turned into `ufix8` where calibration saw no negative value: behind a Relu the sign
 * bit would say nothing. Activations that share parameters change together.
 *
 * @param minimumOf smallest value seen of a value of the graph, or undefined when it was not observed
 */
export function preferUnsigned(plan: Plan, minimumOf: (value: string) => number | undefined): Plan {
  const signed = new Set<string>();
  for (const { tie, value, format, moved } of Object.values(plan.activations)) {
    const isNonNegative = moved || (minimumOf(value) ?? -1) >= 0;
    if (!isNonNegative || unsignedForm(parseFormat(format)) === undefined) signed.add(tie);
  }
  const change = (activation: ActivationQuantization): ActivationQuantization => {
    const form = unsignedForm(parseFormat(activation.format));
    return signed.has(activation.tie) || form === undefined
      ? activation
      : { ...activation, format: form.name };
  };
  return {
    ...plan,
    activations: Object.fromEntries(Object.entries(plan.activations).map(([id, a]) => [id, change(a)])),
  };
}
