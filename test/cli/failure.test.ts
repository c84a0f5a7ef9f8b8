import { Errors } from '@oclif/core';
import { describe, expect, it } from 'vitest';
import { FxqError } from '../../src/core/index.js';
import { failureJson, toFailure } from '../../src/cli/failure.js';

const known = { flags: ['data', 'samples', 'json'], commands: ['calibrate', 'quantize', 'report'] };

const usage = (message: string, extra: object = {}): Error =>
  Object.assign(new Errors.CLIError(message, { exit: 2 }), extra);

describe('toFailure', () => {
  it('keeps code, message and remedies of an fxq error and takes its exit status', () => {
    const failure = toFailure(new FxqError('E_DATA', 'x.npz is odd', ['', 'Save it again.']), known);
    expect(failure).toEqual({
      exit: 2,
      code: 'E_DATA',
      name: 'FxqError',
      message: 'x.npz is odd',
      suggestions: ['Save it again.'],
    });
    expect(failureJson(failure)).toEqual({
      error: { code: 'E_DATA', name: 'FxqError', message: 'x.npz is odd', suggestions: ['Save it again.'] },
    });
  });

  it.each([
    ['E_GATE', 1],
    ['E_BUDGET', 1],
    ['E_CONFIG', 2],
    ['E_INTERNAL', 3],
    ['E_INTERRUPTED', 130],
  ] as const)('%s exits with %d', (code, exit) => {
    expect(toFailure(new FxqError(code, ''), known).exit).toBe(exit);
  });

  it('calls anything unexpected a bug of fxq', () => {
    expect(toFailure(new TypeError('x is undefined'), known)).toMatchObject({
      exit: 3,
      code: 'E_INTERNAL',
      message: 'internal error: x is undefined',
    });
    expect(toFailure('text', known)).toMatchObject({ exit: 3, message: 'internal error: text' });
  });

  it('suggests the flag that was meant', () => {
    const error = usage('Nonexistent flag: --sampels\nSee more help with --help', { flags: ['--sampels'] });
    expect(toFailure(error, known)).toMatchObject({
      exit: 2,
      code: 'E_USAGE',
      message: 'Nonexistent flag: --sampels',
      suggestions: ["Did you mean '--samples'?", 'See the flags with --help.'],
    });
  });

  it('says what is wrong with a flag on one line', () => {
    const number = usage(
      'Parsing --samples \n\tExpected an integer but received: x\nSee more help with --help',
    );
    expect(toFailure(number, known).message).toBe('--samples: expected an integer but received: x');
    const missing = usage(
      'The following error occurred:\n  Missing required flag out\nSee more help with --help',
    );
    expect(toFailure(missing, known).message).toBe('Missing required flag out');
  });

  it('suggests the command that was meant', () => {
    expect(toFailure(usage('command quantise:model.onnx not found'), known).suggestions).toEqual([
      "Did you mean 'quantize'?",
      'See the commands with fxq --help.',
    ]);
  });
});
