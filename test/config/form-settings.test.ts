import { describe, expect, it } from 'vitest';
import { formSettings, type FormKeys } from '../../src/config/form-settings.js';
import { type Form } from '../../src/emit/index.js';

const settings = (form: Form, keys: Partial<FormKeys>): ReturnType<typeof formSettings> =>
  formSettings(form, {
    cppTypes: undefined,
    accumulator: undefined,
    accumulatorOverflow: undefined,
    ...keys,
  });

describe('formSettings', () => {
  it.each([
    [{}, {}],
    [{ accumulator: 20 }, { accumulator: 20 }],
    [{ accumulatorOverflow: 'split' }, {}],
    [{ accumulatorOverflow: 'drop-bits' }, { accumulator: 32 }],
    [{ accumulatorOverflow: 'drop-bits', accumulator: 24 }, { accumulator: 24 }],
    [{ accumulatorOverflow: 'detect' }, { form: { detectBeyond: 32 } }],
    [{ accumulatorOverflow: 'detect', accumulator: 20 }, { form: { detectBeyond: 20 } }],
    [{ cppTypes: 'ap_fixed' }, { form: { cppTypes: 'ap_fixed' } }],
  ] as const)('of %j are %j', (keys, expected) => {
    expect(settings('cpp', keys)).toEqual(expected);
  });

  it('refuse a policy where the runtime sums, and a width where sums are split', () => {
    expect(() => settings('qdq', { accumulatorOverflow: 'detect' })).toThrow('leaves them to the runtime');
    expect(() => settings('qdq', { accumulator: 20 })).toThrow('leaves them to the runtime');
    expect(() => settings('cpp', { accumulatorOverflow: 'split', accumulator: 20 })).toThrow(
      'no other width',
    );
  });
});
