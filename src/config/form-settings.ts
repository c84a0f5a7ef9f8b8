/** Options of the forms a model is written in, checked against each other. */
import { FxqError } from '../core/index.js';
import {
  ACCUMULATOR_BITS,
  isIntegerForm,
  type AccumulatorOverflow,
  type CppTypes,
  type Form,
  type FormOptions,
} from '../emit/index.js';

export interface FormKeys {
  readonly cppTypes: CppTypes | undefined;
  readonly accumulator: number | undefined;
  readonly accumulatorOverflow: AccumulatorOverflow | undefined;
}

export interface FormSettings {
  readonly form?: FormOptions;
  /** Bits that no sum may exceed: weights get coarser. */
  readonly accumulator?: number;
}

/**
 * What becomes of sums: weights drop bits for a width that is given, detection looks at samples, splitting is what
 * integer forms do.
 *
 * @throws FxqError E_CONFIG for a policy or a width without integer sums, and for a width where sums are split
 */
export function formSettings(
  form: Form,
  { cppTypes, accumulator, accumulatorOverflow: policy }: FormKeys,
): FormSettings {
  if ((policy ?? accumulator) !== undefined && !isIntegerForm(form)) {
    const key = policy === undefined ? 'accumulator limits' : 'accumulatorOverflow says what becomes of';
    throw new FxqError(
      'E_CONFIG',
      `quantize.${key} integer sums, and the form ${form} leaves them to the runtime`,
      'Choose --emit integer or cpp.',
    );
  }
  if (policy === 'split' && accumulator !== undefined) {
    throw new FxqError(
      'E_CONFIG',
      'sums that are split have 32 bits and move to 64: no other width can be kept',
      'Leave out --accumulator, or choose --accumulator-overflow detect or drop-bits.',
    );
  }
  const limit = accumulator ?? ACCUMULATOR_BITS;
  const options: FormOptions = {
    ...(cppTypes === undefined ? {} : { cppTypes }),
    ...(policy === 'detect' ? { detectBeyond: limit } : {}),
  };
  const drops = policy === 'drop-bits' || (policy === undefined && accumulator !== undefined);
  return {
    ...(Object.keys(options).length === 0 ? {} : { form: options }),
    ...(drops ? { accumulator: limit } : {}),
  };
}
